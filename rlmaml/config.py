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


def migrate_config(data: dict[str, Any]) -> dict[str, Any]:
    """A stored run's configuration, of a version that had fewer choices or put them elsewhere.

    What was another method then and is not said in the same words now is left to be refused.
    """
    inner = dict(data.get("inner", {}))
    if data.get("data") != "examples":
        inner.setdefault("surrogate", "log-likelihood")
    if inner.get("adjoint") == "unrolled":
        del inner["adjoint"]
    data = data | {"inner": inner}
    if data.get("objective", {}).get("name") == "adapted":
        data["outer_reduction"] = data.pop("objective").get("reduction", "steps")
    return data
