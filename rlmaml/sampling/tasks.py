"""Tasks of environments: found, drawn from spaces, and checked.

A task is whatever `set_task` takes. Numeric points of a Box, Discrete, MultiDiscrete or MultiBinary
stack into one array `[n, *task_space.shape]`. Others (dictionaries, tuples, objects of one's own)
are entries of an array of objects `[n]`, and reach `set_task` as their sampler made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from numpy.typing import ArrayLike

from rlmaml.errors import ConfigError
from rlmaml.sampling.spaces import one_hot
from rlmaml.sampling.task_values import (
    carried,
    detached,
    is_array,
    is_finite,
    plain,
    shortened,
    text,
)


def layers(env: Any) -> Iterator[Any]:
    """The wrappers of an environment, single or batched, from the outside in, and itself last."""
    yield env
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        env = env.env
        yield env


def attribute(env: Any, name: str, default: Any = None) -> Any:
    """An attribute of an environment, or of the outermost wrapper around it that has it."""
    for layer in layers(env):
        if hasattr(layer, name):
            return getattr(layer, name)
    return default


def task_setter(env: Any) -> Callable[[Any], object] | None:
    """The method that sets the task: `set_task`, or `reset_task` as older packages call it.

    It is handed arrays and dictionaries of its own, since what it keeps may be written to. Where it
    raises the environment is reset and asked once more: many take a task after a reset alone.
    """
    for name in ("set_task", "reset_task"):
        if callable(found := attribute(env, name)):
            return partial(_set_task, env, found)
    return None


def _set_task(env: Any, setter: Callable[[Any], object], task: Any) -> None:
    try:
        setter(detached(task))
    except ValueError:  # no task of the environment
        raise
    except Exception as problem:
        try:
            env.reset(seed=0)
            setter(detached(task))
        except Exception:
            raise problem from None


def diagnostics(env: Any) -> tuple[str, ...]:
    """The names in info of what an environment reports of a step, where it lists such."""
    names = attribute(env, "diagnostics")
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, list | tuple | Set | Mapping):
        return ()  # of another meaning
    return tuple(name for name in names if isinstance(name, str))


def current_task(env: Any) -> Any:
    """The task that is set, by an attribute `task` or `get_task()`; None if nothing says it."""
    try:
        for layer in layers(env):
            if hasattr(layer, "task"):
                return layer.task
            if hasattr(layer, "get_task"):
                return layer.get_task()
    except Exception:  # of somebody's property: there may be no task yet
        pass
    return None


def is_numeric(space: object) -> bool:
    """True if points of the space are arrays of one shape."""
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )


def sample_space(space: gymnasium.Space, n: int, rng: np.random.Generator) -> np.ndarray:
    """n points of a space, uniformly, from our generator and not the space's own.

    Raises:
        ConfigError: a space without bounds, or of another kind than Box, Discrete, MultiDiscrete,
            MultiBinary, and Tuple and Dict of those.
    """
    if isinstance(space, spaces.Tuple):
        parts = [sample_space(part, n, rng) for part in space.spaces]
        return carried([tuple(part[i] for part in parts) for i in range(n)])
    if isinstance(space, spaces.Dict):
        named = {name: sample_space(part, n, rng) for name, part in space.spaces.items()}
        return carried([{name: part[i] for name, part in named.items()} for i in range(n)])
    if isinstance(space, spaces.Discrete):
        return space.start + rng.integers(space.n, size=n)
    if isinstance(space, spaces.MultiDiscrete):
        return (space.start + rng.integers(space.nvec, size=(n, *space.nvec.shape))).astype(
            space.dtype
        )
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(2, size=(n, *space.shape), dtype=np.int8)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        return rng.integers(space.low, space.high, (n, *space.shape), space.dtype, endpoint=True)
    if isinstance(space, spaces.Box):
        with np.errstate(over="ignore"):
            widths = space.high - space.low
        if not np.isfinite(widths).all():
            raise ConfigError(
                f"Cannot draw tasks uniformly from the unbounded {space}: give the "
                "environment `sample_tasks(n, rng)`."
            )
        return rng.uniform(space.low, space.high, (n, *space.shape)).astype(space.dtype)
    raise ConfigError(
        "Tasks are drawn from a Box, Discrete, MultiDiscrete or MultiBinary, or a Tuple or Dict of "
        f"those; task_space is {space}: give the environment `sample_tasks(n, rng)`."
    )


def as_tasks(samples: Any, n: int, space: object = None) -> np.ndarray:
    """Samples of a sampler as n tasks: numbers `[n, *space.shape]`, or objects `[n]`.

    Args:
        samples: an array or a sequence of tasks.
        n: how many were asked for.
        space: of tasks; None if there is none.

    Raises:
        ConfigError: no sequence, another number of tasks, another shape than the space's, or
            numbers that are not finite.
    """
    entries = _entries(samples)
    if len(entries) != n:
        raise ConfigError(
            f"sample_tasks was asked for {n} tasks and returned {len(entries)}: it must return as "
            "many as its first argument says, one after another."
        )
    if is_numeric(space) and all(is_array(entry) for entry in entries):
        tasks = _points(samples if hasattr(samples, "__array__") else entries, n, space)
    else:
        tasks = carried(entries)
    if tasks.dtype == object or not np.isfinite(tasks).all():
        for i, task in enumerate(tasks):
            if not is_finite(task):
                raise ConfigError(
                    f"sample_tasks returned a task that is not finite: {text(task)}, number {i} of "
                    f"{n}."
                )
    return tasks


def _entries(samples: Any) -> Sequence[Any]:
    """The tasks one by one."""
    if isinstance(samples, Mapping | Set | str | bytes) or not isinstance(samples, Iterable):
        raise ConfigError(
            f"sample_tasks returned {shortened(repr(samples))}, a {type(samples).__name__}: it "
            "must return an array [n, ...] or a list of n tasks."
        )
    try:
        return samples if isinstance(samples, list | tuple) else list(samples)
    except TypeError as problem:  # an array of no dimension
        raise ConfigError(f"sample_tasks returned no list of tasks: {problem}.") from problem


def _points(samples: Any, n: int, space: Any) -> np.ndarray:
    """Points [n, *space.shape] of a numeric space."""
    shapes = sorted({np.shape(sample) for sample in samples})
    wanted = (n, *space.shape)
    if len(shapes) == 1:
        points = np.asarray(samples)
        # [n] for a space of shape (1,), and the reverse, can mean nothing else.
        if points.shape == wanted or (points.size == n == int(np.prod(wanted))):
            return points.reshape(wanted)
    shown = " and ".join(map(str, shapes))
    raise ConfigError(
        f"sample_tasks returned tasks of shape {shown}, but task_space {space} has points of shape "
        f"{space.shape}: return an array {list(wanted)}, or mend task_space."
    )


def flat(space: gymnasium.Space, points: np.ndarray) -> np.ndarray:
    """Points [n, ...] of a space as vectors [n, D]; of a Discrete one-hot.

    Raises:
        ConfigError: what is no point of the space, or a space whose points are no vectors.
    """
    if isinstance(space, spaces.Discrete) and points.dtype != object:
        return one_hot(points - space.start, int(space.n))
    if isinstance(space, spaces.Box) and points.dtype != object:
        return points.reshape(len(points), -1)
    try:
        size = spaces.flatdim(space)
        rows = [np.asarray(spaces.flatten(space, point), np.float64) for point in points]
    except Exception as problem:  # whatever a point makes of a space it is not of
        raise ConfigError(
            f"Tasks cannot be shown to a policy as points of task_space {space} "
            f"({type(problem).__name__}: {problem}), {text(points[0])} for one: leave out "
            "--env.observe-task, or give the environment a task_space that has them."
        ) from problem
    return np.stack(rows).reshape(len(points), size)


def points(space: gymnasium.Space, numbers: ArrayLike) -> np.ndarray:
    """The points of a space that numbers stand for, one after another.

    Args:
        space: Box, Discrete, MultiDiscrete or MultiBinary; or a Tuple or Dict, which takes the
            numbers of its parts in their order.
        numbers: of n points, in row-major order.

    Returns:
        [n, *space.shape], or objects [n].

    Raises:
        ConfigError: numbers that are no points of the space, or a space without numbers.
    """
    parts = list(_leaves(space))
    sizes = [int(np.prod(part.shape or ())) for part in parts]
    given = np.asarray(numbers, np.float64).ravel()
    fits, columns = len(given) % sum(sizes) == 0, []
    if fits:
        rows = given.reshape(-1, sum(sizes))
        split = zip(parts, np.split(rows, np.cumsum(sizes)[:-1], axis=1), strict=True)
        for part, column in split:
            column = column.reshape(-1, *(part.shape or ()))
            columns.append(column.astype(part.dtype))
            fits &= not _is_whole(part) or bool((columns[-1] == column).all())
    if not fits:
        kind = "integers" if all(map(_is_whole, parts)) else "numbers"
        raise ConfigError(
            f"--task takes points of {space}, {sum(sizes)} {kind} for each; got {given.tolist()}."
        )
    if is_numeric(space):
        tasks = columns[0]
    else:
        each = zip(*columns, strict=True)
        tasks = carried(_composed(space, iter(values)) for values in each)
    for task in tasks:
        if not space.contains(task):
            raise ConfigError(f"--task {plain(task)} is no point of the task space {space}.")
    return tasks


def _is_whole(space: gymnasium.Space) -> bool:
    return np.dtype(space.dtype).kind in "iu"


def _leaves(space: object) -> Iterator[gymnasium.Space]:
    """The numeric spaces that a space is made of, in their order."""
    if isinstance(space, spaces.Tuple):
        for part in space.spaces:
            yield from _leaves(part)
    elif isinstance(space, spaces.Dict):
        for part in space.spaces.values():
            yield from _leaves(part)
    elif is_numeric(space):
        assert isinstance(space, gymnasium.Space)
        yield space
    else:
        raise ConfigError(
            f"--task takes numbers, and a task of {space} is not made of them: leave it out, or "
            "adapt from Python, rlmaml.load(run).adapt(env)."
        )


def _composed(space: gymnasium.Space, values: Iterator[Any]) -> Any:
    """A point of the values of its leaves."""
    if isinstance(space, spaces.Tuple):
        return tuple(_composed(part, values) for part in space.spaces)
    if isinstance(space, spaces.Dict):
        return {name: _composed(part, values) for name, part in space.spaces.items()}
    return next(values)
