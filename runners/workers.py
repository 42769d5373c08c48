"""Worker processes of environments that end before their work does."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterator
from typing import Any

_PIPE_ERRORS = (BrokenPipeError, ConnectionError, EOFError)
SECONDS_TO_END = 2.0
"""How long a worker may take to end when told to."""
_PIPES = ("multiprocessing/connection.py", "multiprocessing\\connection.py")


def ended_workers(problem: BaseException) -> str | None:
    """A sentence on the worker process whose end an error comes of; None if it has another cause.

    A pipe that breaks is a worker's only if multiprocessing was using it.
    """
    if not isinstance(problem, _PIPE_ERRORS):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(problem.__traceback__)]
    if not any(frame.f_code.co_filename.endswith(_PIPES) for frame in frames):
        return None
    codes = []
    for frame in frames:
        codes += _exit_codes(frame.f_locals.get("self"))
    return f"A worker process of the environments has ended {_why(codes)}."


def _exit_codes(owner: Any) -> list[int]:
    """The exit codes other than 0 of a vector environment's processes; none of anything else."""
    processes = vars(owner).get("processes") if hasattr(owner, "__dict__") else None
    if not isinstance(processes, list):
        return []
    codes = []
    for process in processes:
        with contextlib.suppress(AttributeError, ValueError, AssertionError):
            process.join(0.2 if not codes else 0)  # one that was just killed is not known to be so
            if process.exitcode:
                codes.append(process.exitcode)
    return codes


def _why(codes: list[int]) -> str:
    if not codes:
        return "before its work was done"
    if codes[0] > 0:
        return f"with exit code {codes[0]}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-codes[0]).name
        memory = ", as the system does for want of memory" if name == "SIGKILL" else ""
        return f"by {name}{memory}"
    return f"by signal {-codes[0]}"


@contextlib.contextmanager
def closed(experiment: Any) -> Iterator[Any]:
    """Close environments at the end, also those whose workers do not answer any more.

    Args:
        experiment: what has a method `close`, and perhaps a `sampler` with vector environments.
    """
    try:
        yield experiment
    except BaseException as problem:
        causes = (problem, problem.__cause__)
        if any(isinstance(each, KeyboardInterrupt) or _ended(each) for each in causes):
            _terminate(experiment)
        with contextlib.suppress(Exception):  # the error that ends the work is the one to tell
            _close(experiment)
        raise
    _close(experiment)


def _ended(problem: BaseException | None) -> bool:
    return problem is not None and ended_workers(problem) is not None


def _close(experiment: Any) -> None:
    """Close environments; of a worker that has ended on its own, only the rest."""
    try:
        experiment.close()
    except _PIPE_ERRORS as problem:
        if not _ended(problem):
            raise
        _terminate(experiment)


def _terminate(experiment: Any) -> None:
    """End the worker processes of an experiment's environments, which would not close otherwise.

    Gymnasium's own `close(terminate=True)` first waits for the answers to a pending call.
    """
    env = getattr(getattr(experiment, "sampler", None), "env", None)
    vector = getattr(env, "unwrapped", None)
    processes = getattr(vector, "processes", None)
    if not isinstance(processes, list) or getattr(vector, "closed", True):
        return
    with contextlib.suppress(Exception):
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
            if process.is_alive():
                process.kill()
        vars(vector)["closed"] = True  # or closing would speak to those who are no more
