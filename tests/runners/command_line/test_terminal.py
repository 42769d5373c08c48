"""What is said to nobody."""

import errno
import io
import sys

import pytest

from runners.command_line import terminal


class Lost(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, "lost")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_a_stream_that_is_lost_raises_nothing(monkeypatch, number):
    lost = Lost(number)
    lost.flush = lambda: lost.write("")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, lost)
    with terminal.guarded() as out:
        print("to nobody")
        sys.stderr.writelines(["to", "nobody"])
        sys.stdout.flush()
        terminal.say("to nobody")
    assert out.problem is not None
    assert out.problem.errno == number
    assert sys.stdout is lost


def test_what_is_heard_is_as_it_was_said(capsys):
    with terminal.guarded() as out:
        print("a")
        terminal.say("b")
    assert capsys.readouterr() == ("a\n", "b\n")
    assert out.problem is None
