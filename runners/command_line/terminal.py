"""Messages, and streams on whose hearing nothing depends.

Output may go where nobody listens any more: to a pipe that was closed, a terminal that was lost, a
disk that is full. No command ends for that, and no run is left unsaved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from tqdm import tqdm

from rlmaml import processes
from runners.formatting import printable

UNHEARD = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
"""Errors of a stream that nobody reads: what else is written there is not wanted."""


def say(text: str, file: Any = None, *, everywhere: bool = False) -> None:
    """Print a line, above a progress bar if there is one; to nobody, if nobody listens.

    What would command the terminal is spelt out.

    Args:
        text: the line.
        file: where to; standard error if not given.
        everywhere: say it in whichever process; otherwise the first alone speaks.
    """
    if not (everywhere or processes.is_first()):
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: a stream that was closed
        tqdm.write(printable(text), file=sys.stderr if file is None else file)


def tell_from_handler(text: str) -> None:
    """Print to standard error from within a signal handler, which may have interrupted a print.

    It neither raises nor waits for whoever reads.
    """
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, text.encode())


class Guarded:
    """A text stream whose writes never fail.

    Args:
        stream: where what is written goes.

    Attributes:
        problem: why the first write that failed did so; None if none has.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        with self._noted():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write, or lose, several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what is buffered, or lose it."""
        with self._noted():
            self._stream.flush()

    def settle(self) -> None:
        """Hand on what is buffered; of a stream that failed, nothing comes up at exit either."""
        self.flush()
        if self.problem is not None:
            self._silence()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self.problem = self.problem or problem
            if problem.errno in UNHEARD:
                self._silence()

    def _silence(self) -> None:
        """Let what this process and its workers write there go nowhere from now on."""
        with contextlib.suppress(OSError, ValueError):  # what has no descriptor is a test's
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def guarded() -> Iterator[Guarded]:
    """Guard standard output and error while a command runs.

    Yields:
        Standard output.
    """
    _open_missing()
    streams = sys.stdout, sys.stderr
    out, err = (each if isinstance(each, Guarded) else Guarded(each) for each in streams)
    sys.stdout, sys.stderr = out, err  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield out
    finally:
        out.settle()
        err.settle()
        sys.stdout, sys.stderr = streams


def _open_missing() -> None:
    """Open what was closed when we were started, or a run's files would get its numbers."""
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for good
