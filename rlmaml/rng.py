"""Randomness: every draw comes from a generator keyed by what it is for.

A key is (seed, iteration, phase, ...). What is drawn depends on neither thread count, chunk
size nor on having been stopped and resumed, and there is no global generator to disturb.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

Key = tuple[int, ...]


class Phase(IntEnum):
    """The purpose of a draw; rollouts add the inner step's number."""

    INITIALIZE = 0
    TASKS = 1
    EVALUATION_TASKS = 2
    VALIDATION_TASKS = 3
    ACTING = 4
    ROLLOUT = 1000
    EVALUATION_ROLLOUT = 2000
    VALIDATION_ROLLOUT = 3000


def generator(*key: int) -> np.random.Generator:
    """A NumPy generator for this key, independent of every other key's."""
    # As spawn keys, because a plain seed sequence takes (0, 5) and (0, 5, 0) for the same.
    sequence = np.random.SeedSequence(key[0], spawn_key=key[1:])
    return np.random.Generator(np.random.PCG64(sequence))
