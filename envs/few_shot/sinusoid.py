"""Sine waves to be told from a few points: the regression tasks of few-shot learning."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.arguments import Interval, check_interval, check_scale
from ..core.tasks import Split, check_split
from .base import Examples, ExampleTasks

TWO_PI = 2 * np.pi


class _Waves(ExampleTasks):
    """A wave of one number, with parameters uniform on a box; the splits are the same law.

    Args:
        ranges: of the task's parameters, by their names; the amplitude's is the first.
        input_range: where inputs are, uniformly.
    """

    def __init__(self, ranges: dict[str, Interval], input_range: Interval) -> None:
        bounds = np.array([check_interval(name, given) for name, given in ranges.items()])
        self._low, self._high = bounds.T
        self.space = spaces.Box(self._low, self._high, dtype=np.float64)
        self.default = bounds.mean(axis=1)
        self._first, self._last = check_interval("input_range", input_range)
        self.inputs = spaces.Box(self._first, self._last, (1,), dtype=np.float32)
        # Finite, since Stable-Baselines3 wants bounds; twice what a wave reaches.
        reach = 2 * float(np.abs(bounds[0]).max())
        self.outputs = spaces.Box(-reach, reach, (1,), dtype=np.float32)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.uniform(self._low, self._high, size=(n, len(self._low)))

    def draw(self, tasks: np.ndarray, count: int, rng: np.random.Generator) -> Examples:
        inputs = rng.uniform(self._first, self._last, (len(tasks), count, 1)).astype(np.float32)
        return inputs, self._targets(tasks[:, None, :], inputs, rng).astype(np.float32)

    @abstractmethod
    def _targets(
        self, tasks: np.ndarray, inputs: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """The wave at `inputs`, `[N, count, 1]`; `tasks` is `[N, 1, parameters]`."""


class SinusoidTasks(_Waves):
    """The MAML paper's sine waves: y = A sin(x - phase).

    A task is [A, phase]. The sign of the phase is that of the paper's code; the text leaves it
    open.

    Args:
        amplitude_range: of A, uniform.
        phase_range: of the phase, uniform.
        input_range: of x, uniform.
    """

    def __init__(
        self,
        amplitude_range: Interval = (0.1, 5.0),
        phase_range: Interval = (0.0, np.pi),
        input_range: Interval = (-5.0, 5.0),
    ) -> None:
        ranges = {"amplitude_range": amplitude_range, "phase_range": phase_range}
        super().__init__(ranges, input_range)

    def _targets(
        self, tasks: np.ndarray, inputs: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        return tasks[..., :1] * np.sin(inputs - tasks[..., 1:])


class FrequencySinusoidTasks(_Waves):
    """Sine waves of varied frequency, with noise: y = A sin(w x + b) + noise_scale A N(0, 1).

    A task is [A, w, b].

    Args:
        amplitude_range: of A, uniform.
        frequency_range: of w, uniform.
        phase_range: of b, uniform.
        input_range: of x, uniform.
        noise_scale: standard deviation of the noise, as a part of the amplitude.
    """

    def __init__(
        self,
        amplitude_range: Interval = (0.1, 5.0),
        frequency_range: Interval = (0.5, 2.0),
        phase_range: Interval = (0.0, TWO_PI),
        input_range: Interval = (-5.0, 5.0),
        noise_scale: float = 0.01,
    ) -> None:
        ranges = {
            "amplitude_range": amplitude_range,
            "frequency_range": frequency_range,
            "phase_range": phase_range,
        }
        super().__init__(ranges, input_range)
        self._noise_scale = check_scale("noise_scale", noise_scale)

    def _targets(
        self, tasks: np.ndarray, inputs: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        amplitude, frequency, phase = tasks[..., :1], tasks[..., 1:2], tasks[..., 2:]
        noise = self._noise_scale * rng.standard_normal(inputs.shape)
        return amplitude * (np.sin(frequency * inputs + phase) + noise)
