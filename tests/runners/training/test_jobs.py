"""Runs of several seeds at a time."""

import pytest

from runners.run_dir import RunDir
from runners.training.jobs import without
from tests.helpers.runs import TINY, assert_same_run, refused, run, tiny


def test_what_a_run_of_one_seed_is_told():
    words = ["navigation", "--seeds", "0", "1", "--tasks", "2", "--out=a", "--jobs", "2", "-q"]
    assert without(words) == ["navigation", "--tasks", "2", "-q"]
    assert without(["--seeds=3", "x"], ["--seeds"]) == []
    assert without(["--policy.hidden", "8", "8"]) == ["--policy.hidden", "8", "8"]


@pytest.mark.slow
def test_they_are_the_runs_of_one_after_the_other(tmp_path, capsys):
    words = ("train", "navigation", *TINY, "--jobs", 2, "--seeds", 0, 1, "--out", tmp_path / "runs")
    run(*words)
    for seed in (0, 1):
        alone = tiny(tmp_path / f"{seed}", "--seed", seed, preset="navigation")
        assert_same_run(alone, RunDir(tmp_path / "runs" / f"seed-{seed}"))


def test_they_are_of_seeds(tmp_path, capsys):
    words = ("train", "navigation", *TINY, "--jobs", 2, "--out", tmp_path / "run")
    assert "--jobs is for --seeds" in refused(capsys, *words)
    assert "--jobs must be at least 1" in refused(capsys, *words, "--jobs", 0, "--seeds", 0, 1)
    assert not (tmp_path / "run").exists()
