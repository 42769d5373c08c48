"""Processes that end, hang, or are told to stop."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from rlmaml import processes
from rlmaml.errors import ConfigError, DamageWarning
from rlmaml.processes import ProcessLostError
from runners.command_line import cli, console
from runners.evaluation import measure as measuring
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.run_dir import RunDir
from runners.training import own_processes, train
from runners.training.trainer import Trainer
from tests.helpers import share
from tests.helpers.runs import assert_same_run, refused

pytestmark = pytest.mark.slow

SMALL = share.problem("navigation", tasks=3, iterations=6, checkpoint_every=2)


def lost_while(action):
    """What a process hears of another one that does something at the third iteration."""
    whole = Trainer._step

    def step(self, iteration):
        if iteration == 3 and processes.rank() == 1:
            action()
        return whole(self, iteration)

    Trainer._step = step


def end():
    os._exit(9)


def hang():
    time.sleep(2)


def fail():
    raise FloatingPointError("of this process alone")


def trained(out, action, timeout):
    lost_while(action)
    began = time.monotonic()
    try:
        train.train(SMALL, out, quiet=True)
    except Exception as problem:
        return type(problem).__name__, str(problem), time.monotonic() - began
    return None


@pytest.mark.parametrize(("action", "timeout"), [(hang, 1), (fail, 60)])
def test_one_that_hangs_or_fails_ends_the_others(tmp_path, action, timeout):
    found = share.run(2, trained, tmp_path / "run", action, timeout, timeout=timeout)
    assert found[0][0] == "ProcessLostError"
    assert found[0][2] < 20
    expected = "FloatingPointError" if action is fail else "ProcessLostError"
    assert found[1][0] == expected
    folder = RunDir(tmp_path / "run")
    assert [line["iteration"] for line in folder.read_metrics()] == [0, 1, 2]
    assert (folder.checkpoints / "000003").is_dir()  # saved when the other was lost


def stopped(out):
    whole = Trainer._step

    def step(self, iteration):
        if iteration == 3 and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # as torchrun passes on what came already
        return whole(self, iteration)

    Trainer._step = step
    try:
        train.train(SMALL, out, quiet=True)
    except SystemExit as ended:
        return ended.code
    return None


def test_a_signal_to_one_stops_all_after_the_same_iteration(tmp_path, capsys):
    assert share.run(2, stopped, tmp_path / "parts") == [143, 143]
    folder = RunDir(tmp_path / "parts")
    assert len(folder.read_metrics()) == 4
    share.run(2, resumed_and_whole, tmp_path / "parts", tmp_path / "whole")
    assert_same_run(RunDir(tmp_path / "whole"), folder)
    train.resume(folder, SMALL.changed({"iterations": 7}), quiet=True)  # with another number
    assert "goes on with 1 process after 2" in capsys.readouterr().err


def resumed_and_whole(out, other):
    train.resume(RunDir(out), SMALL, quiet=True)
    train.train(SMALL, other, quiet=True)


def test_what_torchrun_starts_again_goes_on(tmp_path, monkeypatch, capsys):
    words = ["train", "navigation", "--tasks", "2", "--episodes", "2", "--horizon", "4", "--quiet"]
    words += ["--threads", "1", "--iterations", "3", "--checkpoint-every", "1"]
    words += ["--seeds", "0", "1", "--out", str(tmp_path / "runs")]
    stop = Trainer._step

    def dies(self, iteration):
        if iteration == 2 and self.config.seed == 1:
            raise KeyboardInterrupt
        return stop(self, iteration)

    monkeypatch.setattr(Trainer, "_step", dies)
    with pytest.raises(SystemExit):
        cli.main(words)
    monkeypatch.setattr(Trainer, "_step", stop)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    with pytest.raises(SystemExit):  # what others began is not gone on with
        cli.main(words)
    assert "exists already" in capsys.readouterr().err
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    cli.main(words)
    for seed in (0, 1):
        assert len(RunDir(tmp_path / "runs" / f"seed-{seed}").read_metrics()) == 3


def blown_up(out):
    """What evaluating comes to where one process alone has a policy that blew up."""
    whole = measuring._adapted

    def adapted(*arguments):
        if processes.rank() == 1:
            raise FloatingPointError("of this process alone")
        return whole(*arguments)

    measuring._adapted = adapted
    try:
        measuring.measure(RunDir(out), EvalConfig(tasks=3, steps=1, episodes=2), quiet=True)
    except FloatingPointError as problem:
        return str(problem)
    return None


def test_a_policy_that_blows_up_in_one_ends_the_evaluation_in_all(tmp_path):
    train.train(SMALL.changed({"iterations": 1}), tmp_path / "run", quiet=True)
    first, second = share.run(2, blown_up, tmp_path / "run")
    assert second == "of this process alone"
    assert "in another process" in first


def evaluated(out):
    config = EvalConfig(tasks=3, steps=1, episodes=2)
    compared = compare_runs([RunDir(out)], config, against=("random", "pretrained"), quiet=True)
    return {name: method.scores for name, method in compared.methods.items()}


def test_evaluations_and_baselines_are_divided(tmp_path):
    # Of few curvature products, each of which makes more of what sums round.
    config = SMALL.changed({"iterations": 1, "trust_region.cg_iterations": 3})
    train.train(config, tmp_path / "run", quiet=True)
    shutil.copytree(tmp_path / "run", tmp_path / "alone")
    alone = evaluated(tmp_path / "alone")
    for found in share.run(2, evaluated, tmp_path / "run"):
        assert found.keys() == alone.keys()
        for name, scores in alone.items():
            rtol = 1e-4 if name == "pretrained" else 0  # trained, by sums that round otherwise
            np.testing.assert_allclose(found[name], scores, rtol=rtol)
    assert (tmp_path / "run" / "comparison.json").exists()


def test_commands_of_one_process_are_refused(tmp_path, capsys, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    said = refused(capsys, "report", tmp_path)
    assert "report runs in one process, and torchrun started 2" in said
    assert "(process 0 of 2)" in said


def of_one(monkeypatch, rank, size):
    monkeypatch.setattr(processes, "rank", lambda: rank)
    monkeypatch.setattr(processes, "size", lambda: size)


def test_fewer_tasks_than_processes_are_refused(monkeypatch):
    of_one(monkeypatch, 1, 4)
    with pytest.raises(ConfigError, match="3 tasks are too few for 4 processes"):
        processes.share(3)


@pytest.mark.parametrize("count", [3, 7, 20])
def test_shares_are_all_tasks_once(monkeypatch, count):
    shares = []
    for rank in range(3):
        of_one(monkeypatch, rank, 3)
        shares.append(processes.share(count))
    rows = [row for own in shares for row in range(own.start, own.stop)]
    assert rows == list(range(count))
    lengths = [own.stop - own.start for own in shares]
    assert max(lengths) - min(lengths) <= 1


def test_alone_there_is_nobody_to_wait_for():
    assert (processes.size(), processes.rank(), processes.name()) == (1, 0, "")
    assert processes.share(5) == slice(0, 5)
    assert ProcessLostError.__mro__[1] is RuntimeError


def test_warnings_name_the_process(monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "is_first", lambda: False)
    heard = []
    monkeypatch.setattr(console, "_others", [lambda message, *_: heard.append(message)])
    console._show("of a library", UserWarning, "file.py", 1)
    console._show("of a file", DamageWarning, "file.py", 1)
    assert heard == ["(process 1 of 2) of a library"]
    assert capsys.readouterr().err == ""  # the first process tells of damage


def test_helpers_end_with_the_first_process():
    queue = share.CONTEXT.Queue()
    first = share.CONTEXT.Process(target=dies, args=(queue,))
    first.start()
    helper = queue.get(timeout=30)
    first.join(10)
    until = time.monotonic() + 10
    while Path(f"/proc/{helper}").exists():
        assert time.monotonic() < until
        time.sleep(0.1)


def dies(queue):
    """A process that starts another and ends without a word."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ["RLMAML_HOST"] = str(os.getppid())
        own_processes.end_with_host()
        os.write(writing, b".")
        time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    queue.put(pid)
    queue.close()
    queue.join_thread()
    os._exit(9)
