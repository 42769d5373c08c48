"""Signals, dead workers, lost terminals, two trainings: what is saved, and the exit code."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from rlmaml.errors import ConfigError
from runners.run_dir import RunDir
from runners.training import plots
from tests.helpers.runs import assert_same_run, learned, refused, run

pytestmark = pytest.mark.slow

SMALL = [
    *("--tasks", 2, "--episodes", 2, "--horizon", 4, "--policy.hidden", 4, "--threads", 1),
    *("--env.id", "tests.helpers.faulty:Faulty-v0", "--env.kwargs", "{}", "--quiet"),
]
ASYNC = ("--env.vectorization", "async")
EXAMPLES = ["sinusoid", "--tasks", 2, "--threads", 1, "--log-every", 1, "--quiet"]
FOR_EVER = ("--iterations", 100_000, "--checkpoint-every", 1000)


class Shell:
    """A command line of a shell, whose processes all get what a terminal sends.

    Args:
        folder: the run.
        tail: what follows the command: redirections and pipes.
        options: what to train.
    """

    def __init__(self, folder, tail, *options):
        words = ["-m", "runners", "train", *options, *FOR_EVER, "--out", folder.path]
        self._folder = folder
        train = " ".join(f"'{word}'" for word in [sys.executable, *words])
        script = f"trap : INT HUP\n{train} {tail}\nexit ${{PIPESTATUS[0]}}"
        self.process = subprocess.Popen(
            ["bash", "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self):
        deadline = time.monotonic() + 120
        while len(self._folder.read_metrics()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def __exit__(self, *error):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def ended(self):
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors


def children(process):
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return list(map(int, found.stdout.split()))


HEARD_BY_NOBODY = {
    "the terminal interrupts tee and workers too": (
        ("navigation", *SMALL, *ASYNC),
        "2>&1 | tee {log} > /dev/null",
        (signal.SIGINT, 130),
    ),
    "the connection is lost": (EXAMPLES, "2> /dev/full | true", (signal.SIGHUP, 129)),
}
"""A run, where what it says goes, the signal that all get, and the exit code."""


@pytest.mark.parametrize(("options", "tail", "end"), HEARD_BY_NOBODY.values(), ids=HEARD_BY_NOBODY)
def test_what_is_said_does_not_decide_what_is_saved(tmp_path, options, tail, end):
    folder, (number, code) = RunDir(tmp_path / "run"), end
    with Shell(folder, tail.format(log=tmp_path / "log"), *options) as shell:
        os.killpg(shell.process.pid, number)
        assert shell.ended()[0] == code
    assert learned(folder).iteration == len(folder.read_metrics()) > 0


def test_a_worker_that_is_killed_is_an_error_and_nothing_is_lost(tmp_path, capsys):
    """And while it trains, no other training comes in."""
    folder = RunDir(tmp_path / "run")
    with Shell(folder, "", "navigation", *SMALL, *ASYNC) as shell:
        said = refused(capsys, "train", "--resume", folder.path, "--trust")
        assert "Another training is at work" in said
        (trainer,) = children(shell.process.pid)
        os.kill(children(trainer)[0], signal.SIGKILL)
        code, errors = shell.ended()
    assert code == 1
    assert "worker process of the environments has ended by SIGKILL" in errors
    assert len(errors.strip().splitlines()) == 1
    done = learned(folder).iteration
    assert done >= len(folder.read_metrics()) - 1
    run("train", "--resume", folder.path, "--iterations", done + 1, "--quiet", "--trust")
    assert learned(folder).iteration == done + 1


RAISED = {
    "value": (ValueError, "a mistake of one's own"),
    "pipe": (BrokenPipeError, "socket"),
    "interrupt": (SystemExit, "130"),
    "exit": (SystemExit, "1"),
}
"""What an environment raises, what the command ends with, and what that says."""


STATISTICS = ("--normalize-observations", "True", "--iterations", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing disturbs."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run("train", "navigation", "--out", path, *SMALL, *STATISTICS)
    return RunDir(path)


@pytest.mark.parametrize("fault", RAISED)
def test_an_error_in_an_environment_loses_nothing(tmp_path, capsys, monkeypatch, whole, fault):
    monkeypatch.setattr(plots, "learning_curve", lambda *_: None)
    trigger = tmp_path / "now"
    kwargs = f'{{"fault": "{fault}", "at": 40, "file": "{trigger}"}}'
    trigger.touch()
    kind, says = RAISED[fault]
    capsys.readouterr()
    with pytest.raises(kind, match=says):
        run(
            "train",
            "navigation",
            "--out",
            tmp_path / "run",
            *SMALL,
            "--env.kwargs",
            kwargs,
            *STATISTICS,
        )
    errors = capsys.readouterr().err
    folder = RunDir(tmp_path / "run")
    assert learned(folder).iteration == 2
    assert f"2 of 4 iterations are saved. Go on with: rlmaml train --resume {folder.path}" in errors
    trigger.unlink()
    run("train", "--resume", folder.path, "--quiet")
    assert_same_run(whole, folder)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_the_curve_is_drawn_ends_in_order(tmp_path, monkeypatch, number, code):
    """And no further seed begins."""
    monkeypatch.setattr(plots, "learning_curve", lambda *_: os.kill(os.getpid(), number))
    words = ("--iterations", 1, "--seeds", 0, 1, "--out", tmp_path)
    with pytest.raises(SystemExit) as stop:
        run("train", *EXAMPLES, *words)
    assert stop.value.code == code
    assert learned(RunDir(tmp_path / "seed-0")).iteration == 1
    assert not (tmp_path / "seed-1").exists()


@pytest.mark.parametrize("seconds", [0.3])
def test_ctrl_c_while_the_command_loads_is_obeyed_in_silence(seconds):
    words = [sys.executable, "-m", "runners", "list"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode in (130, 0, -signal.SIGINT)
    assert not errors


def test_a_run_that_was_never_begun_is_begun(tmp_path, capsys):
    path = tmp_path / "run"
    path.mkdir()
    for name in (".lock", ".config.json.123"):
        (path / name).touch()
    assert "Nothing was started" in refused(capsys, "train", "--resume", path)
    run("train", "sinusoid", "--out", path, "--iterations", 0, "--quiet")
    assert not (path / ".config.json.123").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / ".config.json.swp").touch()  # an editor's
    assert "exists already" in refused(capsys, "train", "sinusoid", "--out", other)


def test_two_trainings_in_one_folder_are_one_too_many(tmp_path):
    folder = RunDir(tmp_path / "run")
    another = pytest.raises(ConfigError, match=r"Another training is at work .*process \d+")
    with folder.locked(), another, folder.locked():
        pass
    with folder.locked():
        pass
