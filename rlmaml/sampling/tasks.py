"""Tasks of environments: drawn, checked, carried in arrays, and as plain values.

A task is whatever `set_task` takes. Numeric points of a Box, Discrete, MultiDiscrete or MultiBinary
stack into one array `[n, *task_space.shape]`. Others (dictionaries, tuples, objects of one's own)
are entries of an array of objects `[n]`, and reach `set_task` as their sampler made them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper

from rlmaml.errors import ConfigError

_DEEPEST = 8
"""Levels of a task within which its parts are looked at; what is below is told by its `repr`."""
_LONGEST = 60
"""Characters of a label."""


def attribute(env: Any, name: str, default: Any = None) -> Any:
    """An attribute of an environment, or of the outermost wrapper around it that has it."""
    while not hasattr(env, name):
        if not isinstance(env, gymnasium.Wrapper | VectorWrapper):
            return default
        env = env.env
    return getattr(env, name)


def task_setter(env: Any) -> Callable[[Any], object] | None:
    """The method that sets the task: `set_task`, or `reset_task` as older packages call it."""
    for name in ("set_task", "reset_task"):
        if callable(found := attribute(env, name)):
            return found
    return None


def current_task(env: Any) -> Any:
    """The task that is set, by an attribute `task` or `get_task()`; None if nothing says it."""
    while True:
        try:
            if hasattr(env, "task"):
                return env.task
            if hasattr(env, "get_task"):
                return env.get_task()
        except Exception:  # of somebody's property: there may be no task yet
            return None
        if not isinstance(env, gymnasium.Wrapper | VectorWrapper):
            return None
        env = env.env


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
        if not space.is_bounded() or not np.isfinite(space.high - space.low).all():
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
    if is_numeric(space) and all(_is_array(entry) for entry in entries):
        tasks = _points(samples if hasattr(samples, "__array__") else entries, n, space)
    else:
        tasks = carried(entries)
    if tasks.dtype == object or not np.isfinite(tasks).all():
        for i, task in enumerate(tasks):
            if not _is_finite(task):
                raise ConfigError(
                    f"sample_tasks returned a task that is not finite: {text(task)}, number {i} of "
                    f"{n}."
                )
    return tasks


def _entries(samples: Any) -> Sequence[Any]:
    """The tasks one by one."""
    if isinstance(samples, Mapping | Set | str | bytes) or not isinstance(samples, Iterable):
        raise ConfigError(
            f"sample_tasks returned {_shortened(repr(samples))}, a {type(samples).__name__}: it "
            "must return an array [n, ...] or a list of n tasks."
        )
    try:
        return samples if isinstance(samples, list | tuple) else list(samples)
    except TypeError as problem:  # an array of no dimension
        raise ConfigError(f"sample_tasks returned no list of tasks: {problem}.") from problem


def _is_array(task: Any) -> bool:
    """True if a task is a number, or numbers in some arrangement."""
    try:
        return np.asarray(task).dtype.kind in "biuf"
    except ValueError:  # ragged
        return False


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


def carried(tasks: Iterable[Any]) -> np.ndarray:
    """Tasks of any kind as an array of objects [n]."""
    tasks = list(tasks)
    carrier = np.empty(len(tasks), object)
    for i, task in enumerate(tasks):  # an assignment at once would look into them
        carrier[i] = task
    return carrier


def numbers_or_objects(values: Any) -> np.ndarray:
    """Plain values, one for each task, as an array of numbers if they are, or else of objects."""
    entries = list(values)
    if all(map(_is_array, entries)) and len({np.shape(entry) for entry in entries}) <= 1:
        return np.asarray(entries)
    return carried(entries)


def plain(task: Any, depth: int = _DEEPEST) -> Any:
    """A task as numbers, strings, lists and dictionaries, which JSON holds and gives back alike."""
    if isinstance(task, bool | str):
        return task
    if isinstance(task, np.ndarray | np.generic) and task.dtype.kind in "biuf":
        return task.tolist()
    if isinstance(task, int | float) and np.isfinite(task):
        return task
    parts = _parts(task) if depth else None
    if isinstance(parts, dict):
        return {str(name): plain(part, depth - 1) for name, part in parts.items()}
    if parts is not None:
        return [plain(part, depth - 1) for part in parts]
    # Where an object is in memory says nothing of the task.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(task))


def _parts(task: Any) -> dict[Any, Any] | list[Any] | None:
    """Parts of a task, by name where they have names; None of what is told by its `repr`."""
    if isinstance(task, Mapping):
        return dict(task)
    if isinstance(task, tuple) and hasattr(task, "_asdict"):
        return task._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if dataclasses.is_dataclass(task) and not isinstance(task, type):
        return {each.name: getattr(task, each.name) for each in dataclasses.fields(task)}
    if isinstance(task, list | tuple):
        return list(task)
    if isinstance(task, np.ndarray) and task.ndim:
        return list(task)
    if hasattr(task, "numpy") and hasattr(task, "tolist"):  # a tensor
        values = task.tolist()
        return values if isinstance(values, list) else None
    return None


def text(task: Any) -> str:
    """A task of any kind in a few words on one line."""
    value = plain(task)
    if isinstance(value, str):
        return _shortened(value)
    return _shortened(json.dumps(_rounded(value)).replace('"', ""))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _shortened(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 4]} ..."


def _is_finite(task: Any, depth: int = _DEEPEST) -> bool:
    if isinstance(task, float | np.ndarray | np.generic) and np.asarray(task).dtype.kind in "fc":
        return bool(np.isfinite(task).all())
    parts = _parts(task) if depth and not _is_string(task) else None
    if parts is None or (isinstance(task, np.ndarray) and task.dtype != object):
        return True
    values = parts.values() if isinstance(parts, dict) else parts
    return all(_is_finite(part, depth - 1) for part in values)


def _is_string(task: Any) -> bool:
    return isinstance(task, str | bytes)


def same(one: Any, other: Any, depth: int = _DEEPEST) -> bool:
    """True if two tasks, observations and so on are equal in all their parts."""
    try:
        if one is other:
            return True
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype != object:
            return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        parts, others = (None if _is_string(each) else _parts(each) for each in (one, other))
        if depth and isinstance(parts, dict) and isinstance(others, dict):
            pairs = [(part, others.get(name)) for name, part in parts.items()]
            return parts.keys() == others.keys() and all(same(*pair, depth - 1) for pair in pairs)
        if depth and isinstance(parts, list) and isinstance(others, list):
            pairs = list(zip(parts, others, strict=False))
            return len(parts) == len(others) and all(same(*pair, depth - 1) for pair in pairs)
        return bool(one == other)
    except Exception:  # of somebody's own ==
        return False


def flat(space: gymnasium.Space, points: np.ndarray) -> np.ndarray:
    """Points [n, ...] of a space as vectors [n, D]; of a Discrete one-hot.

    Raises:
        ConfigError: what is no point of the space, or a space whose points are no vectors.
    """
    if isinstance(space, spaces.Discrete) and points.dtype != object:
        return np.eye(int(space.n))[points - space.start]
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


def leaves(space: object) -> Iterator[gymnasium.Space]:
    """The numeric spaces that a space is made of, in their order.

    Raises:
        ConfigError: one that is not numeric.
    """
    if isinstance(space, spaces.Tuple):
        for part in space.spaces:
            yield from leaves(part)
    elif isinstance(space, spaces.Dict):
        for part in space.spaces.values():
            yield from leaves(part)
    elif is_numeric(space):
        assert isinstance(space, gymnasium.Space)
        yield space
    else:
        raise ConfigError(f"A task of {space} is no list of numbers.")
