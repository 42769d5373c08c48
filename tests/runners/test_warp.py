"""Robots by MuJoCo Warp, where it cannot be: refused before anything is written."""

import sys

import pytest

from tests.helpers.runs import refused

WARP = ("--env.vectorization", "warp")


def test_without_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    monkeypatch.setitem(sys.modules, "warp", None)
    said = refused(capsys, "train", "half-cheetah-dir", "--out", tmp_path / "run", *WARP)
    assert "pip install 'rlmaml[warp]'" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["navigation", "tabular"])
def test_of_what_is_no_robot(tmp_path, capsys, preset):
    said = refused(capsys, "train", preset, "--out", tmp_path / "run", *WARP)
    assert "is of rlmaml's robots" in said
    assert not list(tmp_path.iterdir())
