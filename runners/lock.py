"""Locks on files, held by the kernel: those of a process that was killed are gone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from rlmaml.errors import ConfigError
from runners.command_line.terminal import say

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_HELD: set[int] = set()
"""Descriptors of the locks of this process, which workers that it forks are not to keep."""
_TAKEN = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@contextlib.contextmanager
def lock(
    path: Path,
    *,
    busy: str | None = None,
    instead: str = "stop it, wait for its end, or give another place (--out DIR)",
) -> Iterator[None]:
    """Hold the lock on a file, which is made if missing and stays.

    Where the file system knows no locks, that is said.

    Args:
        path: the file, in the folder that is locked.
        busy: what is said of another process that holds it; if not given, that it trains there.
        instead: what to do then.

    Raises:
        ConfigError: another process holds it, or the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
    _HELD.add(descriptor)
    try:
        _take(descriptor, path, busy or f"Another training is at work in {path.parent}", instead)
        yield
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


def _take(descriptor: int, path: Path, busy: str, instead: str) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no locks")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in _TAKEN:
            raise ConfigError(f"{busy}{_holder(descriptor)}: {instead}.") from problem
        say(
            f"The file system of {path.parent} keeps no locks ({problem.strerror}): see to it that "
            "no two trainings run there."
        )
        return
    with contextlib.suppress(OSError):  # it is only for whoever is refused
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        if text := os.pread(descriptor, 200, 0).decode(errors="replace"):
            return f" ({text})"
    return ""


def _forget() -> None:
    for descriptor in _HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
