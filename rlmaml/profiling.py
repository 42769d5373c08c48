"""Profile of a meta-iteration's time, and the number of threads that linear algebra may have."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import torch

_recording: list[dict[str, float]] = []


@contextlib.contextmanager
def timer(name: str) -> Iterator[None]:
    """Time what runs inside under a name. Costs next to nothing while nobody records."""
    if not _recording:
        yield
        return
    began = _now()
    try:
        yield
    finally:
        took = _now() - began
        for seconds in _recording:
            seconds[name] += took


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, float]]:
    """Seconds by timer of what runs inside. A timer inside another is counted in both."""
    seconds: dict[str, float] = defaultdict(float)
    _recording.append(seconds)
    try:
        yield seconds
    finally:
        # By identity: two recordings may be equal.
        del _recording[next(i for i, each in enumerate(_recording) if each is seconds)]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, for what is too small to gain from more, or must not have them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
