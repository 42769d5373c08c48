"""Values that tasks are: arrays of them, and each as plain numbers and words."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

DEEPEST = 8
"""Levels of a task within which its parts are looked at; what is below is told by its `repr`."""
LONGEST = 60
"""Characters of a label."""


def is_array(task: Any) -> bool:
    """True if a task is a number, or numbers in some arrangement."""
    try:
        return np.asarray(task).dtype.kind in "biuf"
    except ValueError:  # ragged
        return False


def carried(tasks: Iterable[Any]) -> np.ndarray:
    """Tasks of any kind as an array of objects [n]."""
    tasks = list(tasks)
    carrier = np.empty(len(tasks), object)
    for i, task in enumerate(tasks):  # an assignment at once would look into them
        carrier[i] = task
    return carrier


def detached(task: Any, depth: int = DEEPEST) -> Any:
    """A task whose arrays, lists and dictionaries are its own; other objects stay who they are."""
    if isinstance(task, np.ndarray):
        return task.copy()
    if not depth:
        return task
    if isinstance(task, dict):
        made = copy.copy(task)
        for name, part in task.items():
            made[name] = detached(part, depth - 1)
        return made
    if type(task) is list or type(task) is tuple:
        return type(task)(detached(part, depth - 1) for part in task)
    if isinstance(task, tuple) and hasattr(task, "_make"):
        return task._make(detached(part, depth - 1) for part in task)  # pyright: ignore
    return task


def numbers_or_objects(values: Any) -> np.ndarray:
    """Plain values, one for each task, as an array of numbers if they are, or else of objects."""
    entries = list(values)
    if all(map(is_array, entries)) and len({np.shape(entry) for entry in entries}) <= 1:
        return np.asarray(entries)
    return carried(entries)


def plain(task: Any, depth: int = DEEPEST) -> Any:
    """A task as numbers, strings, lists and dictionaries, which JSON holds and gives back alike."""
    if isinstance(task, str):
        return str.__str__(task)  # of NumPy's own kind, too
    if isinstance(task, np.ndarray | np.generic) and task.dtype.kind in "biuf":
        return task.tolist()
    if isinstance(task, bool):
        return task
    if isinstance(task, int):
        return int(task)
    if isinstance(task, float) and math.isfinite(task):
        return float(task)
    if isinstance(task, bytes) and len(task) > LONGEST:
        return f"<{len(task)} bytes, SHA-256 {hashlib.sha256(task).hexdigest()}>"
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
    if isinstance(task, torch.Tensor) and task.ndim:
        return task.tolist()
    return None


def text(task: Any) -> str:
    """A task of any kind in a few words on one line."""
    value = plain(task)
    if isinstance(value, str):
        return shortened(value)
    return shortened(json.dumps(_rounded(value)).replace('"', ""))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def shortened(words: str) -> str:
    """The beginning of words, on one line."""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 4].rstrip()} ..."


def is_finite(task: Any, depth: int = DEEPEST) -> bool:
    """True if no number in a task is infinite or NaN."""
    if isinstance(task, float | np.ndarray | np.generic) and np.asarray(task).dtype.kind in "fc":
        return bool(np.isfinite(task).all())
    parts = _parts(task) if depth and not _is_string(task) else None
    if parts is None or (isinstance(task, np.ndarray) and task.dtype != object):
        return True
    values = parts.values() if isinstance(parts, dict) else parts
    return all(is_finite(part, depth - 1) for part in values)


def _is_string(task: Any) -> bool:
    return isinstance(task, str | bytes)


def same(one: Any, other: Any, depth: int = DEEPEST) -> bool:
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
