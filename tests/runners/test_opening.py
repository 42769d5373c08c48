"""Folders of runs by name: results go to a copy of what was shared."""

import os
import subprocess
from pathlib import Path

import pytest

import rlmaml
from rlmaml import sources
from rlmaml.errors import ConfigError
from runners.opening import opened


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_path_is_itself():
    assert opened(Path("runs/mine")).path == Path("runs/mine")
    assert not Path("runs").exists()


def test_results_go_to_a_copy(capsys):
    copy = opened(Path("sinusoid"))
    assert copy.path == Path("runs/pretrained/sinusoid")
    assert "sinusoid is copied to runs/pretrained/sinusoid" in capsys.readouterr().err
    assert copy.read_config() == rlmaml.load("sinusoid").config
    assert rlmaml.load(copy.path).iteration == rlmaml.load("sinusoid").iteration
    assert not (copy.path / "README.md").exists()
    copy.plots.mkdir()
    assert opened(Path("sinusoid")).plots.is_dir()  # with its results
    assert [path.name for path in Path("runs/pretrained").iterdir()] == ["sinusoid"]


def test_another_run_in_its_place_stays():
    copy = opened(Path("sinusoid"))
    (manifest,) = copy.checkpoints.glob("*/manifest.json")
    manifest.write_text("{}")
    with pytest.raises(ConfigError, match="is no copy of what sinusoid is now: move it away"):
        opened(Path("sinusoid"))
    assert manifest.read_text() == "{}"


def test_another_command_may_be_first(monkeypatch):
    """Nothing is there when it looks, and the other's copy when it has made its own."""
    opened(Path("sinusoid"))
    exists = Path.exists
    place = Path("runs/pretrained/sinusoid")
    monkeypatch.setattr(Path, "exists", lambda path: path != place and exists(path))
    assert opened(Path("sinusoid")).checkpoints.is_dir()
    assert [path.name for path in Path("runs/pretrained").iterdir()] == ["sinusoid"]


def test_copies_of_processes_that_were_killed_are_removed():
    killed = subprocess.Popen(["true"])
    killed.wait()
    for process in (killed.pid, os.getppid()):
        Path(f"runs/pretrained/.sinusoid.{process}").mkdir(parents=True)
    opened(Path("sinusoid"))
    names = {path.name for path in Path("runs/pretrained").iterdir()}
    assert names == {"sinusoid", f".sinusoid.{os.getppid()}"}


def test_a_place_that_cannot_be_written_is_told():
    Path("runs").write_text("a file")
    with pytest.raises(ConfigError, match=r"Cannot write runs/pretrained/sinusoid"):
        opened(Path("sinusoid"))


def test_nothing_is_written_into_the_package():
    before = sorted(sources.PRETRAINED.rglob("*"))
    opened(Path("sinusoid"))
    assert sorted(sources.PRETRAINED.rglob("*")) == before
