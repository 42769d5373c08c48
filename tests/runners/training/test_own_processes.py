"""Runs that start the other processes themselves."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from runners.presets import PRESETS
from runners.run_dir import RunDir
from runners.training import command, own_processes, train
from runners.training.trainer import Trainer
from tests.helpers import share
from tests.helpers.runs import TINY, assert_same_run, refused, run

WORDS = ("train", "navigation", *TINY, "--processes", "2", "--quiet")


@pytest.fixture
def cpus(monkeypatch):
    """Have as many CPUs as it is called with."""

    def have(count):
        monkeypatch.setattr(own_processes.find_envs(), "available_cpus", lambda: count)

    return have


def gone_on_and_whole(begun, new):
    config = RunDir(begun).read_config()
    train.resume(RunDir(begun), config, quiet=True)
    train.train(config, new, quiet=True)


@pytest.mark.slow
def test_a_run_that_lost_another_process_goes_on_as_torchrun_would_have_run_it(
    tmp_path, monkeypatch, capsys
):
    started, whole = [], Trainer._step
    start = own_processes._start

    def noted(*arguments):
        started.append(start(*arguments))
        return started[-1]

    def step(self, iteration):
        if iteration == 2:
            os.kill(started[0].pid, signal.SIGKILL)
        return whole(self, iteration)

    monkeypatch.setattr(own_processes, "_start", noted)
    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(SystemExit) as stop:
        run(*WORDS, "--out", tmp_path / "run")
    assert stop.value.code == 1
    assert "Another process ended" in capsys.readouterr().err
    assert started[0].returncode == -signal.SIGKILL
    assert (RunDir(tmp_path / "run").checkpoints / "000002").is_dir()
    assert (
        own_processes.processes.started() == own_processes.processes.size() == 1
    )  # nothing is left of it
    own, other = RunDir(tmp_path / "run"), RunDir(tmp_path / "torchrun")
    share.run(2, gone_on_and_whole, own.path, other.path)
    assert_same_run(own, other)


@pytest.mark.slow
def test_another_process_that_fails_is_heard(tmp_path, monkeypatch, capsys):
    start = own_processes._start

    def with_another_preset(arguments, *rest):
        return start(["no-such-preset", *arguments[1:]], *rest)

    monkeypatch.setattr(own_processes, "_start", with_another_preset)
    with pytest.raises(SystemExit) as stop:
        run(*WORDS, "--out", tmp_path / "run")
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "Process 1 ended with code 2" in said
    assert "process 1 of 2" in said
    assert "no-such-preset" in said
    assert not (tmp_path / "run").exists()


def test_numbers_that_cannot_be_are_refused(tmp_path, capsys, monkeypatch):
    assert "must be at least 1, got 0" in refused(capsys, *WORDS[:-2], "0")
    assert "3 are too many for 2 tasks" in refused(capsys, *WORDS[:-2], "3")
    said = refused(capsys, *WORDS, "--seeds", "0", "1", "--jobs", "2", "--out", tmp_path / "runs")
    assert "--jobs starts processes of its own" in said
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    assert "torchrun starts processes of its own" in refused(capsys, *WORDS)


def test_folders_are_checked_before_others_are_started(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(own_processes, "_start", None)  # or it would be called
    assert "exists already" in refused(capsys, *WORDS, "--out", tmp_path)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, 1), (2, 2), (3, 3), (8, 7), (16, 10), (64, 10)]
)
def test_no_process_is_started_that_gains_nothing(cpus, count, expected):
    cpus(count)
    assert PRESETS["half-cheetah-dir"].config.tasks == 20
    assert own_processes.worthwhile(PRESETS["half-cheetah-dir"].config) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 2},
        {"threads": 2},
        {"device": "cuda"},
        {"episodes": 1},
        {"env.vectorization": "warp"},
    ],
)
def test_small_runs_and_those_with_other_wishes_have_one_process(cpus, changes):
    cpus(8)
    assert own_processes.worthwhile(PRESETS["half-cheetah-dir"].config.changed(changes)) == 1
    assert own_processes.worthwhile(PRESETS["sinusoid"].config) == 1


def test_a_run_that_goes_on_keeps_its_processes(cpus):
    cpus(4)
    config = PRESETS["half-cheetah-dir"].config
    assert own_processes.worthwhile(config, before=1) == 1
    assert own_processes.worthwhile(config, before=3) == 3
    assert own_processes.worthwhile(config, before=16) == 4


def test_threads_that_are_wanted_now_are_no_processes(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(own_processes, "_start", lambda *arguments: started.append(arguments))
    run("train", "navigation", *TINY, "--quiet", "--out", tmp_path / "run")
    monkeypatch.setattr(command, "processes_before", lambda folder: 2)
    run("train", "--resume", tmp_path / "run", "--iterations", "5", "--threads", "2", "--quiet")
    assert not started


def test_what_is_the_users_own_has_one_process_unless_asked_for(cpus):
    cpus(8)
    config = PRESETS["half-cheetah-dir"].config
    mine = dataclasses.replace(config.env, id="mine:Mine-v0")
    assert own_processes.worthwhile(dataclasses.replace(config, env=mine)) == 1
    mine = "tests.helpers.algorithms:SignMAML"
    named = SimpleNamespace(**{**vars(config), "algorithm": mine})
    assert own_processes.worthwhile(named) == 1


def test_a_validation_has_a_task_for_each_process(cpus, capsys):
    cpus(8)
    config = PRESETS["half-cheetah-dir"].config.changed({"validation_tasks": 3})
    assert own_processes.worthwhile(config) == 3
    words = [*WORDS[:-2], "2", "--validation-tasks", "1"]
    assert "2 are too many for 1 tasks" in refused(capsys, *words)


def test_a_second_signal_ends_what_waits_for_another(monkeypatch):
    """While the first process waits for another that hangs, Python handles no signals."""
    monkeypatch.setattr(own_processes, "_SECONDS_TO_END", {True: 0, False: 0})
    before = {number: signal.signal(number, ignored) for number in (signal.SIGINT, signal.SIGTERM)}
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with own_processes._ending_at_a_second_signal([hanging]):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert hanging.poll() is None
            signal.raise_signal(signal.SIGINT)
            assert hanging.wait(5) == -signal.SIGKILL
        assert signal.set_wakeup_fd(-1) == -1  # as it was
    finally:
        hanging.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def ignored(number, frame):
    pass


def test_what_does_not_end_is_made_to(monkeypatch):
    monkeypatch.setattr(own_processes, "_SECONDS_TO_END", {True: 0.2, False: 0.2})
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    started = [subprocess.Popen([sys.executable, "-c", deaf]) for _ in range(2)]
    time.sleep(0.3)
    own_processes._end(started, False)
    assert all(each.poll() is not None for each in started)
