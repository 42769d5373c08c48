"""Randomness: every draw comes from a generator keyed by what it is for.

A key is (seed, iteration, phase, ...). What is drawn depends on neither thread count, chunk
size nor on having been stopped and resumed, and there is no global generator to disturb.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch

Key = tuple[int, ...]


class Phase(IntEnum):
    """The purpose of a draw; rollouts add the inner step's number."""

    INITIALIZE = 0
    TASKS = 1
    EVALUATION_TASKS = 2
    VALIDATION_TASKS = 3
    ACTING = 4
    FIRST_TASKS = 5
    TRIALS = 6
    ROLLOUT = 1000
    EVALUATION_ROLLOUT = 2000
    VALIDATION_ROLLOUT = 3000
    FIRST_ROLLOUT = 4000


def generator(*key: int) -> np.random.Generator:
    """A NumPy generator for this key, independent of every other key's."""
    # As spawn keys, because a plain seed sequence takes (0, 5) and (0, 5, 0) for the same.
    sequence = np.random.SeedSequence(key[0], spawn_key=key[1:])
    return np.random.Generator(np.random.PCG64(sequence))


@contextlib.contextmanager
def global_generators_kept() -> Iterator[None]:
    """Put Python's, NumPy's and torch's own generators back as they were.

    Nothing here draws from them, but what users bring may.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
