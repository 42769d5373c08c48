"""A run that ends at any of its file operations goes on to the bit, and leaves nothing behind."""

from dataclasses import replace

import pytest

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners.errors import TrainingStopped
from runners.presets import PRESETS
from runners.run_dir import RunDir
from runners.training import plots, train
from tests.helpers.faults import Disk, Killed
from tests.helpers.runs import assert_same_run

pytestmark = pytest.mark.slow

STRIDE = 23
"""Every how many operations one is failed; a prime, so that all kinds come up."""


@pytest.fixture
def small(monkeypatch):
    """Three checkpoints, of which one is pruned; the plot is a few bytes."""

    def drawn(metrics, path, title):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{title}: {len(metrics)}")

    monkeypatch.setattr(plots, "learning_curve", drawn)
    base = PRESETS["sinusoid"][1]
    policy = replace(base.policy, hidden=(4,))
    return replace(
        base, policy=policy, iterations=3, tasks=2, threads=1, checkpoint_every=1, log_every=1
    )


def gone_on(config, path):
    """The run, started again where there is none and gone on with where there is."""
    folder = RunDir(path)
    if folder.is_free():
        with pytest.raises(ConfigError, match=r"Nothing was started|not a run folder"):
            folder.read_config()
        return train.train(config, path, quiet=True)
    return train.resume(folder, config, quiet=True)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def operations(config, path, monkeypatch):
    """The run that nothing disturbs, and its file operations."""
    train.train(config, path.with_name("first"), quiet=True)  # which imports a module or two
    with Disk().at_work(monkeypatch) as disk:
        whole = train.train(config, path, quiet=True)
    return whole, disk.done


def test_killed_at_any_operation_it_goes_on(tmp_path, monkeypatch, small, capfd):
    whole, done = operations(small, tmp_path / "whole", monkeypatch)
    assert {"rename", "rmdir", "fsync", "write", "replace", "unlink"} <= set(done)
    for n in range(0, len(done), STRIDE):
        path = tmp_path / f"killed-{n}"
        with Disk(n).at_work(monkeypatch), pytest.raises(Killed):
            train.train(small, path, quiet=True)
        folder = gone_on(small, path)
        assert_same_run(whole, folder)
        assert names(folder.path) == names(whole.path), f"killed at {n}, {done[n]}"


def test_a_disk_that_fills_up_at_any_operation_loses_nothing(tmp_path, monkeypatch, small, capfd):
    whole, done = operations(small, tmp_path / "whole", monkeypatch)
    for n in range(1, len(done), STRIDE + 6):
        path = tmp_path / f"full-{n}"
        with Disk(n, full=True).at_work(monkeypatch):
            with pytest.raises((TrainingStopped, ConfigError)) as stopped:
                train.train(small, path, quiet=True)
            assert "No space left on device" in str(stopped.value)
            assert "\n" not in str(stopped.value)
        folder = RunDir(path)
        if checkpoint.available(folder.checkpoints):
            checkpoint.load(checkpoint.latest(folder.checkpoints))
        assert_same_run(whole, gone_on(small, path))
        assert names(path) == names(whole.path), f"full from {n}, {done[n]}"


def test_a_plot_that_cannot_be_written_is_told_of_a_run_that_is_done(tmp_path, monkeypatch, small):
    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots, "learning_curve", refused)
    with pytest.raises(TrainingStopped, match=r"done and saved, but .* No space left"):
        train.train(small, tmp_path / "run", quiet=True)
    assert checkpoint.available(RunDir(tmp_path / "run").checkpoints)[-1] == small.iterations
