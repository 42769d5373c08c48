"""Files that are the old ones or the new ones, and numbers that JSON does not have."""

import json
import math

import pytest

from rlmaml.errors import ConfigError
from runners import io


def test_numbers_that_are_not_finite_come_back_as_nan(tmp_path):
    path = tmp_path / "a" / "x.json"
    io.write_json(path, {"values": [1.0, math.inf, (math.nan, 2)], "none": None, "bad": math.nan})
    stored = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert stored == {"values": [1.0, None, [None, 2]], "none": None, "bad": None}
    read = io.read_json(path)
    assert read["none"] is None  # no value, which is no number
    values = read["values"]
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert math.isnan(values[2][0])


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.read_json(tmp_path / "none.json")
    for text in ('{"a"', "[1]"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ConfigError, match=r"bad.json cannot be read"):
            io.read_json(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        io.read_json(tmp_path)


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "x.csv"
    io.write_csv(path, ("a", "b"), [(1, 2)])

    def rows():
        yield 3, 4
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        io.write_csv(path, ("a", "b"), rows())
    assert path.read_text() == "a,b\n1,2\n"
    with pytest.raises(ConfigError, match="Cannot write"):
        io.write_text(path / "under-a-file", "x")


def test_the_command_is_known_within_it():
    assert io.command() is None
    with io.running(["evaluate", "runs/my run", "--tasks", "3"]):
        assert io.command() == "rlmaml evaluate 'runs/my run' --tasks 3"
    assert io.command() is None


def test_versions_name_what_decides_figures():
    assert {"python", "platform", "torch", "mujoco", "numpy"} <= io.versions().keys()
