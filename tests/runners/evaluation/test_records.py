"""Dataclasses as JSON records, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rlmaml.errors import ConfigError
from runners.evaluation.records import from_record, to_record
from runners.io import read_json, write_json


@dataclass(frozen=True)
class Part:
    values: NDArray[np.float64]
    label: str | None = None


@dataclass(frozen=True)
class Sum:
    parts: dict[str, Part]
    more: tuple[Part, ...]
    task: np.ndarray
    counts: tuple[int, ...] = ()
    best: NDArray[np.float64] | None = None
    path: Path | None = field(default=None, metadata={"stored": False})


def test_what_is_written_is_read(tmp_path):
    part = Part(np.array([1.5, np.nan, np.inf]), "a")
    made = Sum(
        {"x": part}, (part, Part(np.zeros((2, 0)))), np.array([1, 2]), (3, 4), path=Path("p")
    )
    write_json(tmp_path / "sum.json", to_record(made))
    assert "NaN" not in (tmp_path / "sum.json").read_text()
    read = from_record(Sum, read_json(tmp_path / "sum.json"), tmp_path)
    np.testing.assert_array_equal(read.parts["x"].values, [1.5, np.nan, np.nan])
    assert read.parts["x"].label == "a"
    assert read.more[1].values.shape == (2, 0)
    assert read.task.dtype.kind == "i"
    assert (read.counts, read.best, read.path) == ((3, 4), None, None)


def test_fields_of_other_versions():
    """Unknown ones are left, missing ones are named unless they have a default."""
    record = json.loads('{"parts": {}, "more": [], "task": 3, "since": 1}')
    assert from_record(Sum, record, Path("sum.json")).counts == ()
    del record["task"]
    with pytest.raises(ConfigError, match=r"sum.json has no task: move it away"):
        from_record(Sum, record, Path("sum.json"))


@pytest.mark.parametrize("record", [None, [], {"values": "many"}, {"values": [[1.0], [1.0, 2.0]]}])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(ConfigError, match=r"part.json cannot be read"):
        from_record(Part, record, Path("part.json"))
