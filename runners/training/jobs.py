"""Runs of several seeds at a time, each in a process of its own, on CPUs of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from runners.command_line.terminal import say
from runners.training.starting import start_training

_TAKEN = ("--seeds", "--jobs", "--out")
"""Options that a run of one seed has not, or has another value of."""


def without(arguments: Sequence[str], names: Sequence[str] = _TAKEN) -> list[str]:
    """Arguments of a command line without some options and their values."""
    kept, skipping = [], False
    for word in arguments:
        if word.startswith("-") and not word[1:2].isdigit():
            skipping = word.partition("=")[0] in names
        if not skipping:
            kept.append(word)
    return kept


def of_seed(arguments: Sequence[str], path: Path, seed: int) -> list[str]:
    """The arguments of a run of one of --seeds."""
    return [*without(arguments), "--seed", str(seed), "--out", str(path)]


def run_jobs(arguments: Sequence[str], runs: dict[Path, int], jobs: int) -> list[str]:
    """Train one run for each seed, at most so many at a time.

    Ctrl-C and SIGTERM reach all that are at work: each saves and ends, and no other begins.

    Args:
        arguments: of `rlmaml train`, whatever they say of seeds.
        runs: seeds by folder.
        jobs: how many at a time; each has as many CPUs as the others.

    Returns:
        The names of the folders whose run did not come to its end.

    Raises:
        SystemExit: stopped by a signal, with its code.
    """
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    each = len(cpus) // jobs
    places = [cpus[i * each : (i + 1) * each] for i in range(jobs)] if each else [[]] * jobs
    waiting, working, failed = list(runs.items()), {}, []
    stopped: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        for process, _ in working.values():
            process.send_signal(signal.SIGTERM)

    heard = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        heard.append(hangup)
    before = {each: signal.signal(each, pass_on) for each in heard}
    try:
        while working or (waiting and not stopped):
            for slot in range(jobs):
                if slot not in working and waiting and not stopped:
                    path, seed = waiting.pop(0)
                    working[slot] = _started(arguments, path, seed, places[slot]), path
                    if stopped:  # while it was started
                        working[slot][0].send_signal(signal.SIGTERM)
            for slot, (process, path) in list(working.items()):
                if process.poll() is not None:
                    del working[slot]
                    if process.returncode:
                        failed.append(path.name)
            time.sleep(0.1)
    finally:
        for process, _ in working.values():
            process.send_signal(signal.SIGTERM)
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        say(f"Stopped; go on with each of {', '.join(map(str, runs))} by --resume.")
        raise SystemExit(128 + stopped[0])
    return failed


def _started(
    arguments: Sequence[str], path: Path, seed: int, cpus: Sequence[int]
) -> subprocess.Popen[bytes]:
    """A run of one seed, on these CPUs; on all if there are none."""
    process = start_training([*of_seed(arguments, path, seed), "--quiet"], os.environ)
    if cpus:
        os.sched_setaffinity(process.pid, cpus)
    return process
