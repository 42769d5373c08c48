"""An environment's own law of tasks, however its sampler is written, or its `task_space`."""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from rlmaml.errors import ConfigError
from rlmaml.rng import global_generators_kept
from rlmaml.sampling.tasks import as_tasks, attribute, layers, sample_space

GENERATOR_NAMES = ("rng", "generator", "np_random")
"""Names of an argument that takes a generator, wherever it stands."""

SEED_NAMES = ("seed", "random_state")
"""Names of an argument that takes a number, and seeds a generator of the sampler's own."""

LIKE_GENERATORS = ("rng", "rand", "gen", "rs", "state", "key", "r")
"""Parts of the names of a second argument that takes a generator, or None."""

_UNMADE = object()
"""In place of a generator that is made when first asked for."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class TaskSampler:
    """Draws tasks by `sample_tasks` of an environment, single or batched, else from `task_space`.

    `sample_tasks(n, rng)` draws from `rng` alone. `sample_tasks(n)`, as older packages have it,
    draws from whatever there is: for the time of the call, the generators that NumPy, Python and
    torch keep, and those of the environment and its spaces, are seeded from `rng`.

    Args:
        env: with `sample_tasks` or `task_space`, which may be those of a wrapper.
    """

    def __init__(self, env: Any) -> None:
        self._env, self._space = env, attribute(env, "task_space")
        self._sample: Callable[..., Any] | None = attribute(env, "sample_tasks")

    def __call__(self, n: int, rng: np.random.Generator, split: str = "train") -> np.ndarray:
        """Draw n tasks: numbers `[n, *task_space.shape]`, or objects `[n]`.

        `split` ("train", "validation" or "test") goes to environments that tell them apart.

        Raises:
            ConfigError: tasks that are none, or cannot be drawn.
        """
        sample = self._sample
        if sample is None:
            return sample_space(self._space, n, rng)
        place, options = _signature(sample)
        given = {"split": split} if "split" in options else {}
        if place is None:
            with _seeded(self._env, rng):
                samples = sample(n, **given)
                if isinstance(samples, Iterator):  # draws only now
                    samples = list(samples)
        elif place:
            seeds = place in SEED_NAMES
            source = int(rng.integers(2**31)) if seeds else rng
            samples = sample(n, **{place: source}, **given)
        else:
            samples = sample(n, rng, **given)
        return as_tasks(samples, n, self._space)


def _signature(sample: Callable[..., Any]) -> tuple[str | None, set[str]]:
    """Where a sampler takes a generator, and the names of its arguments.

    Returns:
        An argument's name, or "" for the second one, or None if it takes none.
    """
    try:
        parameters = dict(inspect.signature(sample).parameters)
    except (TypeError, ValueError):  # of a compiled function
        return "", set()
    names = set(parameters)
    if not parameters:
        raise ConfigError("sample_tasks takes no argument: let it take how many tasks to draw.")
    parameters.pop("split", None)
    order = list(parameters.values())
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in order[:2]):
        return "", names
    for each in order[1:]:
        if (
            each.name in GENERATOR_NAMES + SEED_NAMES
            and each.kind is not inspect.Parameter.POSITIONAL_ONLY
        ):
            return each.name, names
    second = order[1] if len(order) > 1 else None
    if second is None or second.kind not in _POSITIONAL:
        return None, names
    # Another default is a choice of another kind: with_replacement=True, say.
    takes = second.default is inspect.Parameter.empty or (
        second.default is None and _like_a_generator(second.name)
    )
    return ("" if takes else None), names


def _like_a_generator(name: str) -> bool:
    return name in LIKE_GENERATORS or any(part in name for part in LIKE_GENERATORS[:3])


@contextlib.contextmanager
def _seeded(env: Any, rng: np.random.Generator) -> Iterator[None]:
    """Seed whatever a sampler may draw from by our generator, and put all of it back after."""
    own = list(_generators(env))
    with global_generators_kept():
        seeds = rng.integers(2**32, size=3).tolist()
        random.seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002
        torch.random.default_generator.manual_seed(seeds[2])
        for owner, name, value in own:
            owner[name] = _fresh(value, int(rng.integers(2**32)))
        try:
            yield
        finally:
            _put_back(own)


@contextlib.contextmanager
def instance_generators_kept(env: Any) -> Iterator[None]:
    """Put the generators of an environment, its wrappers and their spaces back as they were."""
    own = [
        (owner, name, value if value is _UNMADE else copy.deepcopy(value))
        for owner, name, value in _generators(env)
    ]
    try:
        yield
    finally:
        _put_back(own)


def _put_back(own: list[tuple[dict[str, Any], str, Any]]) -> None:
    """Put generators where they were kept."""
    for owner, name, value in own:
        if value is _UNMADE:
            owner.pop(name, None)
        else:
            owner[name] = value


def _generators(env: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """The generators of an environment, its wrappers and their spaces: where each is kept."""
    seen: set[int] = set()
    layer = env
    for layer in layers(env):
        for name in ("task_space", "observation_space", "action_space"):  # also of the class
            yield from _kept(getattr(layer, name, None), seen)
        yield from _kept(layer, seen)
    if isinstance(layer, gymnasium.Env | VectorEnv) and "_np_random" not in vars(layer):
        yield vars(layer), "_np_random", _UNMADE


def _kept(value: Any, seen: set[int]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Generators among the attributes of an environment or a space, and of spaces in it."""
    if id(value) in seen or not hasattr(value, "__dict__"):
        return
    seen.add(id(value))
    attributes = vars(value)
    for name, each in list(attributes.items()):
        if name == "_np_random" or isinstance(
            each, np.random.Generator | np.random.RandomState | random.Random | torch.Generator
        ):
            yield attributes, name, each
        inside: Iterable[Any] = (each,)
        if isinstance(value, gymnasium.Space) and isinstance(each, dict | list | tuple):
            inside = each.values() if isinstance(each, dict) else each
        for part in inside:
            if isinstance(part, gymnasium.Space):
                yield from _kept(part, seen)


def _fresh(value: Any, seed: int) -> Any:
    """A generator of the same kind with a seed of ours."""
    if isinstance(value, np.random.RandomState):
        return np.random.RandomState(seed)
    if isinstance(value, random.Random):
        return random.Random(seed)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).manual_seed(seed)
    return np.random.default_rng(seed)
