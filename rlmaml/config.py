"""Configurations are frozen dataclasses; on disk they are JSON."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

T = TypeVar("T")


class UnknownFieldError(ValueError):
    """A stored configuration has a field that this version does not know."""


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """A dataclass, nested ones included, from what `dataclasses.asdict` and JSON made of it.

    Raises:
        UnknownFieldError: another version wrote it.
        ValueError: a field has a value that the dataclass refuses.
    """
    hints = typing.get_type_hints(cls)
    unknown = set(data) - set(hints)
    if unknown:
        raise UnknownFieldError(
            f"The configuration has fields unknown to this version: {', '.join(sorted(unknown))}. "
            "Use the version of rlmaml that wrote it."
        )
    values = {}
    for name, value in data.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            value = from_dict(typing.cast(type, kind), value)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return cls(**values)
