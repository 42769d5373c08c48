"""Dataclasses of what JSON made of them, and one error for what they refuse."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from rlmaml.errors import ConfigError

T = TypeVar("T")


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """Make a dataclass, nested ones included, of what `dataclasses.asdict` and JSON made of it.

    Raises:
        ConfigError: no object, unknown fields, values of other types, or a value that the dataclass
            refuses.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"The configuration must be a JSON object, got {data!r}.")
    hints = typing.get_type_hints(cls)
    unknown = set(data) - {each.name for each in dataclasses.fields(typing.cast(Any, cls))}
    if unknown:
        raise ConfigError(
            f"The configuration has fields unknown to this version: {', '.join(sorted(unknown))}. "
            "Use the version of rlmaml that wrote it."
        )
    values = {}
    for name, value in data.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            value = from_dict(typing.cast(type, hint), value)
        elif isinstance(value, list):
            value = tuple(value)
        if not _is_of(value, hint):
            raise ConfigError(f"{name} must be {_name_of(hint)}, got {value!r}.")
        values[name] = value
    return made(cls, **values)


def _is_of(value: object, hint: Any) -> bool:
    """True if a value that came from JSON is one of a field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(value, each) for each in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return type(value) is int
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return isinstance(value, tuple) and all(_is_of(each, arguments[0]) for each in value)
    kind = origin or hint
    if kind is type(None):
        return value is None
    return kind not in (str, bool, dict, tuple) or isinstance(value, kind)


def _name_of(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def made(make: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """Result of a function, of a user's classes too.

    Raises:
        ConfigError: values that it refuses.
    """
    with refusals_explained(""):
        return make(*arguments, **settings)


@contextlib.contextmanager
def refusals_explained(who: str) -> Iterator[None]:
    """Raise a ConfigError for what classes of a user refuse by another error."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"{who}: {problem}" if who else str(problem)) from problem
