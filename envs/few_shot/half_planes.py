"""Classification of points by a line through a square."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.tasks import Split, check_split
from .base import ClassTasks

_OFFSET = 0.5  # how far a line is from the middle at most
_CANDIDATES = 8  # points drawn at a time for each one that is wanted


class LinearClassificationTasks(ClassTasks):
    """Classification by a line: class 1 where cos(angle) x0 + sin(angle) x1 > offset, otherwise 0.

    Inputs are uniform on the square [-1, 1]². A task is [angle, offset], uniform on [0, 2π] and
    [-0.5, 0.5], so that neither side is less than a fifth of the square. The splits are the same.
    """

    def __init__(self) -> None:
        self.space = spaces.Box(
            np.array([0.0, -_OFFSET]), np.array([2 * np.pi, _OFFSET]), dtype=np.float64
        )
        self.default = np.array([np.pi, 0.0])
        self.inputs = spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.outputs = spaces.Discrete(2)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.uniform((0.0, -_OFFSET), (2 * np.pi, _OFFSET), size=(n, 2))

    def draw_inputs(
        self, tasks: np.ndarray, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        wanted = labels.ravel() == 1
        angle, offset = np.repeat(tasks, labels.shape[1], axis=0).T
        normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        inputs = np.empty((len(wanted), 2), dtype=np.float32)
        missing = np.arange(len(wanted))
        # Uniform on the square until one falls on the right side: uniform on that side. Sides are
        # judged after the rounding to float32, so that no label is wrong beside the line.
        while missing.size:
            drawn = rng.uniform(-1.0, 1.0, (len(missing), _CANDIDATES, 2)).astype(np.float32)
            height = np.einsum("mci,mi->mc", drawn, normal[missing])
            right = (height > offset[missing, None]) == wanted[missing, None]
            first, any_right = right.argmax(axis=1), right.any(axis=1)
            inputs[missing[any_right]] = drawn[any_right, first[any_right]]
            missing = missing[~any_right]
        return inputs.reshape(*labels.shape, 2)
