"""Values of settings: of their types, finite, and within stated ranges."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal

from rlmaml.errors import ConfigError

MOST, MOST_FLOAT = 10**12, 1e30
"""Magnitudes that no integer and no other number of a setting exceeds, where its class states no
other in `limits`; the square of the latter is still a float64."""
_DEEPEST = 100
"""Containers within containers that a JSON object of a setting has at most."""


def check_values(settings: object, prefix: str = "", *, option: bool = False) -> None:
    """Check every field of a dataclass; those of dataclasses within it are checked when made.

    A class states its ranges in a class variable `limits`: the magnitude, by the field's name, that
    no number of that field exceeds. Lower ends are each class's own to check.

    Args:
        settings: an instance of a dataclass, a user's too.
        prefix: of the fields' names in messages: `inner.`.
        option: name the fields as options of a command.

    Raises:
        ConfigError: a value of another type, a number that is not finite or out of range, or text
            with control characters.
    """
    stated = getattr(type(settings), "limits", None)  # or a user's own of that name
    limits: Mapping[str, float] = stated if isinstance(stated, Mapping) else {}
    hints = _hints(type(settings))
    for each in dataclasses.fields(settings):  # pyright: ignore[reportArgumentType]
        name = f"--{each.name.replace('_', '-')}" if option else prefix + each.name
        most = limits.get(each.name)
        _check(name, getattr(settings, each.name), hints.get(each.name, Any), most)


def check_finite(name: str, value: object, depth: int = 0) -> None:
    """Check that what is to be kept as JSON has no numbers that JSON has not.

    Raises:
        ConfigError: a number that is not finite, or containers too deep within one another.
    """
    if depth > _DEEPEST:
        raise ConfigError(f"{name} is nested more than {_DEEPEST} deep: make it flatter.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be finite, got {value}.")
    if isinstance(value, Mapping):
        for key, part in value.items():
            check_finite(f"{name}: {key}", part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            check_finite(name, part, depth + 1)


@cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):  # a user's class within a function, or with hints of its own
        return {}


def _check(name: str, value: Any, hint: Any, most: float | None) -> None:
    """Check one value. Hints that are none of JSON's types are taken to be met."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        _check_union(name, value, arguments, most)
    elif origin is Literal:
        if not any(value == each for each in arguments):
            raise ConfigError(f"{name} must be one of {_listed(arguments)}, got {value!r}.")
    elif origin is tuple and isinstance(value, list | tuple) and arguments:
        for part in value:
            _check(name, part, arguments[0], most)
    elif hint is int:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ConfigError(f"{name} must be an integer, got {value!r}.")
        _check_size(name, value, most)
    elif hint is float:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise ConfigError(f"{name} must be a number, got {value!r}.")
        _check_size(name, value, most)
    elif hint is str:
        if not isinstance(value, str):
            raise ConfigError(f"{name} must be text, got {value!r}.")
        if any(_is_control(letter) for letter in value):
            raise ConfigError(f"{name} must have no control characters, got {value!r}.")
    else:
        check_finite(name, value)


def _check_union(name: str, value: Any, arms: tuple[Any, ...], most: float | None) -> None:
    literals = [word for arm in arms if typing.get_origin(arm) is Literal for word in _words(arm)]
    others = [arm for arm in arms if typing.get_origin(arm) is not Literal]
    if value is None and type(None) in others:
        return
    if isinstance(value, str) and value in literals:
        return
    rest = [arm for arm in others if arm is not type(None)]
    if len(rest) == 1 and not literals:
        _check(name, value, rest[0], most)
    elif isinstance(value, Real) and not isinstance(value, bool):
        _check_size(name, value, most)
    else:  # of several types: for the class itself to tell apart
        check_finite(name, value)


def _check_size(name: str, value: Any, limit: float | None) -> None:
    most = limit or (MOST if isinstance(value, Integral) else MOST_FLOAT)
    shown = f"{most:,}" if isinstance(most, int) else f"{most:g}"
    number: Any = value if isinstance(value, Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        raise ConfigError(f"{name} must be finite, got {number}.")
    if number > most:
        raise ConfigError(f"{name} must be at most {shown}, got {_short(value)}.")
    if number < -most:
        raise ConfigError(f"{name} must be at least -{shown}, got {_short(value)}.")


def _short(value: object) -> str:
    """A number as it came; of thousands of digits, which Python does not write, how many."""
    if isinstance(value, int) and value.bit_length() > 300:
        return f"a number of {value.bit_length()} bits"
    return str(value)


def _is_control(letter: str) -> bool:
    return ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0


def _words(literal: Any) -> tuple[Any, ...]:
    return typing.get_args(literal)


def _listed(words: typing.Iterable[object]) -> str:
    return ", ".join(map(str, words))
