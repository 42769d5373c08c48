"""The processes that a run starts itself, to divide its tasks among the CPUs of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.envs_location import find_envs
from rlmaml.errors import ConfigError
from rlmaml.processes import ProcessLostError
from runners.command_line.terminal import say
from runners.training.starting import start_training

LARGE = 20_000
"""Env steps of an iteration from which on processes of one thread are faster than threads."""
LONG = 1_000_000
"""Env steps of a run from which on that makes up for the seconds in which they start."""
MOST = 16
"""Processes that nobody asked for, each of which takes some hundred MB."""
_SECONDS_TO_END = {True: 10.0, False: 3.0}  # that the others may take, all being well or not
_TOLD = 2**16  # bytes of what a lost one has to say, the last ones


def worthwhile(config: TrainConfig, before: int | None = None) -> int:
    """The number of processes that a run is fastest with on this machine.

    Tasks are whole, so that of 20 on 16 CPUs some process has two: 10 are as fast as 16.
    Environments, algorithms and outer steps of the user's own have one process unless more are
    asked for: they may want a port, or take a mean over the tasks that they see.

    Args:
        config: the run's.
        before: the number that it was begun with, which a run that goes on keeps if there are as
            many CPUs: then it is the same run, to the bit.
    """
    cpus = find_envs().available_cpus()
    if {config.device, config.sampling_device} != {"cpu"} or config.env.vectorization == "warp":
        return 1
    if before is not None and before <= min(cpus, _tasks(config)):
        return before
    steps = config.tasks * config.episodes * config.horizon * (config.inner.steps + 1)
    own = not config.env.id.startswith("rlmaml/") or ":" in config.algorithm + config.outer
    if (
        config.data != "episodes"
        or own
        or config.threads  # a wish for less than the whole machine, or for threads
        or steps < LARGE
        or steps * config.iterations < LONG
    ):
        return 1
    most = min(cpus, MOST, _tasks(config))
    return -(-config.tasks // -(-config.tasks // most))


def check_count(count: int, config: TrainConfig) -> None:
    """Check that a run can be divided among so many processes.

    Raises:
        ConfigError: it can not.
    """
    if count < 1:
        raise ConfigError(f"--processes must be at least 1, got {count}.")
    if count > _tasks(config):
        raise ConfigError(
            f"--processes {count} are too many for {_tasks(config)} tasks, of which each needs "
            "one. Take fewer processes, or more tasks (and --validation-tasks, if any)."
        )


def _tasks(config: TrainConfig) -> int:
    """Tasks to divide: those of an iteration or of a validation, whichever are fewer."""
    return min(config.tasks, config.validation_tasks or config.tasks)


@contextlib.contextmanager
def with_others(arguments: Sequence[str], count: int, timeout: float) -> Iterator[None]:
    """Have `count` - 1 other processes run the same command, and meet them as the first.

    They say nothing, write nothing and end with this one. What one of them has to say is told if
    it is lost.

    Args:
        arguments: of `rlmaml train`.
        count: the number of processes, this one included; with 1 there are no others.
        timeout: seconds that each waits for another, at most.

    Raises:
        ProcessLostError: one of them has ended, or does not answer in time.
    """
    if count == 1:
        yield
        return
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(processes.hosting(count))
        others: list[subprocess.Popen[bytes]] = []
        notes = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]
        stack.enter_context(_ending_at_a_second_signal(others))
        well = lost = False
        try:
            for number, note in enumerate(notes, start=1):
                others.append(_start(arguments, os.environ | shared, number, note))
            processes.join(timeout, lambda: _check(others))
            yield
            well = True
        except ProcessLostError:
            lost = True
            raise
        finally:
            _end(others, well)
            if lost:
                _tell(notes)


def end_with_host() -> None:
    """End this process as soon as the one that started it is gone, whatever it is doing then.

    Nothing is lost by that: only the first process writes.
    """
    host = processes.host()
    if host is None:
        return

    def watch() -> None:
        while os.getppid() == host:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(
    arguments: Sequence[str], environment: dict[str, str], number: int, note: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Another process, which has the number, and writes what it has to say into a file."""
    own = {"RANK": str(number), "LOCAL_RANK": str(number)}
    return start_training(arguments, environment | own, quiet=True, errors=note)


def _check(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for number, other in enumerate(others, start=1):
        if other.poll() is not None:
            raise ProcessLostError(f"Process {number} ended with code {other.returncode}.")


def _end(others: Sequence[subprocess.Popen[bytes]], well: bool) -> None:
    """Part from the others, upon which they end; those that do not are made to.

    Args:
        others: processes.
        well: they have come to their end too, or are about to.
    """
    try:
        processes.leave()
        if not well:
            for other in others:
                other.terminate()
        until = time.monotonic() + _SECONDS_TO_END[well]
        for other in others:
            with contextlib.suppress(subprocess.TimeoutExpired):
                other.wait(max(0.0, until - time.monotonic()))
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextlib.contextmanager
def _ending_at_a_second_signal(others: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Kill the others at a second SIGINT or SIGTERM.

    While this process waits for one of them, Python does not get to handle signals. Once they are
    gone there is nobody to wait for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        count = 0
        while (number := os.read(reading, 1)) and number != b"\0":
            count += number[0] in (signal.SIGINT, signal.SIGTERM)
            if count == 2:
                for other in tuple(others):
                    other.kill()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)


def _tell(notes: Sequence[IO[bytes]]) -> None:
    for note in notes:
        note.seek(max(0, note.seek(0, os.SEEK_END) - _TOLD))
        if text := note.read().decode(errors="replace").strip():
            say(text)
