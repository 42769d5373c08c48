"""The other processes of a run that divides its tasks among the CPUs of this machine by itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.envs_location import find_envs
from rlmaml.errors import ConfigError
from rlmaml.processes import ProcessLostError
from runners.terminal import say

LARGE = 20_000
"""Env steps of an iteration from which on processes of one thread are faster than threads."""
LONG = 1_000_000
"""Env steps of a run from which on that makes up for the seconds in which they start."""
_SECONDS_TO_END = 10


def worthwhile(config: TrainConfig, before: int | None = None) -> int:
    """The number of processes that a run is fastest with on this machine.

    Tasks are whole, so that of 20 on 16 CPUs some process has two: 10 are as fast as 16.

    Args:
        config: the run's.
        before: the number that it was begun with, which a run that goes on keeps if there are as
            many CPUs: then it is the same run, to the bit.
    """
    cpus = find_envs().available_cpus()
    if before is not None and before <= cpus:
        return before
    steps = config.tasks * config.episodes * config.horizon * (config.inner.steps + 1)
    if (
        config.data != "episodes"
        or config.threads  # a wish for less than the whole machine, or for threads
        or config.device != "cpu"
        or steps < LARGE
        or steps * config.iterations < LONG
    ):
        return 1
    each = -(-config.tasks // cpus)
    return -(-config.tasks // each)


def check_count(count: int, config: TrainConfig) -> None:
    """Check that a run can be divided among so many processes.

    Raises:
        ConfigError: it can not.
    """
    if count < 1:
        raise ConfigError(f"--processes must be at least 1, got {count}.")
    if count > config.tasks:
        raise ConfigError(
            f"--processes {count} are too many for {config.tasks} tasks, of which each needs "
            "one. Take fewer processes, or more tasks."
        )


@contextlib.contextmanager
def helped(arguments: Sequence[str], count: int) -> Iterator[Callable[[], None]]:
    """Have `count` - 1 other processes run the same command, and be the first of them.

    They say nothing, write nothing and end with this one. What one of them has to say is told if
    it is lost.

    Args:
        arguments: of `rlmaml train`.
        count: the number of processes, this one included; with 1 there are no others.

    Yields:
        A function that raises `ProcessLostError` if one of them has ended.
    """
    if count == 1:
        yield lambda: None
        return
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(processes.hosting(count))
        notes = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]
        helpers = [
            _start(arguments, os.environ | shared, number, note)
            for number, note in enumerate(notes, start=1)
        ]
        try:
            yield lambda: _check(helpers)
        except ProcessLostError:
            _end(helpers)
            _tell(notes)
            raise
        finally:
            _end(helpers)


def _start(
    arguments: Sequence[str], environment: dict[str, str], number: int, note: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Another process, which has the number, and writes what it has to say into a file."""
    own = {"RANK": str(number), "LOCAL_RANK": str(number)}
    return subprocess.Popen(
        # What the arguments name was trusted already.
        [sys.executable, "-m", "runners", "train", *arguments, "--trust"],
        env=environment | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=note,
        start_new_session=True,  # Ctrl-C in the terminal comes by us, and once
    )


def _check(helpers: Sequence[subprocess.Popen[bytes]]) -> None:
    for number, helper in enumerate(helpers, start=1):
        if helper.poll() is not None:
            raise ProcessLostError(f"Process {number} ended with code {helper.returncode}.")


def _end(helpers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Part from the others, upon which they end; those that do not are made to."""
    processes.leave()
    for helper in helpers:
        try:
            helper.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            helper.kill()
            helper.wait()


def _tell(notes: Sequence[IO[bytes]]) -> None:
    for note in notes:
        note.seek(0)
        if text := note.read().decode(errors="replace").strip():
            say(text)
