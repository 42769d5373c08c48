"""Dataclasses from JSON: types, nested ones, and one error for what is refused."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from rlmaml.errors import ConfigError
from rlmaml.json_dataclasses import from_dict, made, refusals_explained


@dataclass(frozen=True)
class Inner:
    """A part."""

    sizes: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    """A whole."""

    name: str = "x"
    rate: float | None = None
    inner: Inner = field(default_factory=Inner)
    options: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if self.rate is not None and self.rate < 0:
            raise ValueError("rate must not be negative")


def test_json_and_back():
    whole = Outer("y", 0.5, Inner((3,), "b"), {"z": 1})
    assert from_dict(Outer, json.loads(json.dumps(dataclasses.asdict(whole)))) == whole
    assert from_dict(Outer, {"rate": 1}).rate == 1  # a whole number is a number


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": 3}, "name must be str, got 3"),
        ({"rate": "fast"}, "rate must be float | None, got 'fast'"),
        ({"rate": True}, "rate must be float"),
        ({"inner": {"sizes": [1, 2.5]}}, "sizes must be tuple"),
        ({"inner": {"kind": "c"}}, "kind must be Literal['a', 'b'], got 'c'"),
        ({"options": 1}, "options must be dict"),
        ({"other": 1}, "fields unknown to this version: other"),
        ({"rate": -1.0}, "rate must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(data, message):
    with pytest.raises(ConfigError) as refused:
        from_dict(Outer, data)
    assert message in str(refused.value)


def test_refusals_are_of_one_kind():
    with pytest.raises(ConfigError, match="unexpected keyword"):
        made(Outer, color="red")
    with pytest.raises(ConfigError, match="mine: no"), refusals_explained("mine"):
        raise ValueError("no")
    with pytest.raises(ZeroDivisionError), refusals_explained("mine"):
        raise ZeroDivisionError
