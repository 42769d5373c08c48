"""Frozen dataclasses of results as JSON records, and back."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from pathlib import Path
from typing import TypeVar

import numpy as np

from rlmaml.errors import ConfigError
from rlmaml.sampling.task_values import numbers_or_objects, plain

T = TypeVar("T")
Record = dict[str, object]


def to_record(value: object) -> object:
    """The JSON value of a dataclass, an array, or a container of them.

    Fields whose metadata has `stored=False` are left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_record(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.metadata.get("stored", True)
        }
    if isinstance(value, np.ndarray | np.generic):
        return plain(value)
    if isinstance(value, dict):
        return {name: to_record(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_record(part) for part in value]
    return value


def from_record(kind: type[T], record: object, source: Path) -> T:
    """A dataclass from the record that `to_record` made of it; fields it does not know are left.

    Args:
        kind: of the dataclass.
        record: a JSON object.
        source: the file that it was read from, for messages.

    Raises:
        ConfigError: a field is missing, or has a value of another kind.
    """
    if not isinstance(record, dict):
        raise ConfigError(f"{source} cannot be read: {record!r} is no record of {kind.__name__}.")
    hints = typing.get_type_hints(kind)
    values: Record = {}
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        if field.name in record:
            try:
                values[field.name] = _decoded(hints[field.name], record[field.name], source)
            except (TypeError, ValueError) as problem:
                if isinstance(problem, ConfigError):
                    raise
                raise ConfigError(f"{source} cannot be read: {field.name}: {problem}") from problem
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{source} has no {field.name}: move it away to have it made anew.")
    return kind(**values)


def _decoded(kind: object, value: object, source: Path) -> object:
    """A field's value of the kind that its annotation names."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # of something and None
        return None if value is None else _decoded(arguments[0], value, source)
    if origin is np.ndarray:
        if arguments:
            return np.asarray(value, np.float64)
        return numbers_or_objects(value) if isinstance(value, list) else np.asarray(value)
    if origin is dict and isinstance(value, dict):
        return {name: _decoded(arguments[1], part, source) for name, part in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_decoded(arguments[0], part, source) for part in value)
    if isinstance(origin, type) and dataclasses.is_dataclass(origin):
        return from_record(origin, value, source)
    return _plain(origin, value)


def _plain(kind: object, value: object) -> object:
    """A value of JSON, where it is one of the kind; a number that is null is NaN."""
    if kind is float and value is None:
        return math.nan
    names = {str: "text", int: "an integer", float: "a number", bool: "true or false"}
    names |= {dict: "an object", tuple: "a list"}
    if isinstance(kind, type) and kind in names:
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{reprlib.repr(value)} is not {names[kind]}")
    return value
