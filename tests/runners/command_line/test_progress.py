"""Long work shows itself on a terminal, and nowhere else."""

import os
import pty
import subprocess
import sys
import termios
import threading

import pytest

from tests.helpers.runs import TINY, tiny

pytestmark = pytest.mark.slow
END = "\x1e"


def on_a_terminal(*commands):
    """What each command writes to stderr where that is a terminal."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))  # a bar is as wide as its terminal
    output = bytearray()

    def listen():
        try:
            while part := os.read(controller, 4096):
                output.extend(part)
        except OSError:  # how Linux says that the other side has closed
            pass

    listener = threading.Thread(target=listen)
    listener.start()
    calls = ["import sys", "from runners.command_line import cli"]
    for words in commands:
        calls += [f"cli.main({list(map(str, words))})", f"sys.stderr.write({END!r})"]
    command = [sys.executable, "-c", "\n".join(calls)]
    subprocess.run(command, stderr=terminal, stdout=subprocess.DEVNULL, check=True, timeout=120)
    os.close(terminal)
    listener.join(timeout=10)
    os.close(controller)
    *written, after = output.decode().split(END)
    assert len(written) == len(commands)
    assert after == ""
    return written


def commands(out, *more):
    yield "train", "half-cheetah-vel", "--out", out, *TINY, *more
    yield "evaluate", out, "--tasks", 2, "--episodes", 2, *more


def test_training_and_evaluating_show_the_time_left_on_a_terminal(tmp_path):
    quiet = commands(tmp_path / "quiet", "--quiet")
    *silence, trained, evaluated = on_a_terminal(*quiet, *commands(tmp_path / "run"))
    assert silence == ["", ""]
    assert "4/4" in trained
    assert "<" in trained  # tqdm: elapsed<left
    assert "evaluate run" in evaluated
    assert "5/5" in evaluated  # four sets of episodes, and one chunk of tasks to be scored


def test_a_log_file_gets_results_and_no_bars(tmp_path, capsys):
    tiny(tmp_path / "run")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "4 iterations" in printed.out
