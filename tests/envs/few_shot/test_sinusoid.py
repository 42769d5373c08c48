"""Sine waves: their laws and noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium import spaces

from envs.few_shot.sinusoid import FrequencySinusoidTasks, SinusoidTasks
from tests.helpers.few_shot import rng


def test_sinusoid_is_the_papers():
    family = SinusoidTasks()
    tasks = np.array([[2.0, 0.5], [0.1, 3.0]])
    inputs, targets = family.draw(tasks, 50, rng())
    assert inputs.shape == targets.shape == (2, 50, 1)
    assert inputs.dtype == targets.dtype == np.float32
    for (amplitude, phase), xs, ys in zip(tasks.tolist(), inputs, targets, strict=True):
        expected = [amplitude * math.sin(x - phase) for x in xs[:, 0].tolist()]
        np.testing.assert_allclose(ys[:, 0], expected, rtol=1e-6, atol=1e-7)


def test_frequency_sinusoid_and_its_noise():
    tasks = np.array([[2.0, 0.5, 1.0], [0.5, 2.0, 6.0]])
    inputs, targets = FrequencySinusoidTasks(noise_scale=0).draw(tasks, 50, rng())
    for (amplitude, w, b), xs, ys in zip(tasks.tolist(), inputs, targets, strict=True):
        expected = [amplitude * math.sin(w * x + b) for x in xs[:, 0].tolist()]
        np.testing.assert_allclose(ys[:, 0], expected, rtol=1e-5, atol=1e-6)

    inputs, targets = FrequencySinusoidTasks().draw(tasks, 40_000, rng())
    amplitude, w, b = tasks.T[:, :, None, None]
    noise = targets - amplitude * np.sin(w * inputs + b)
    np.testing.assert_allclose(noise.std(axis=(1, 2)), [0.02, 0.005], rtol=0.02)
    np.testing.assert_allclose(noise.mean(axis=(1, 2)), 0.0, atol=5e-4)
    with pytest.raises(ValueError, match="noise_scale is -1"):
        FrequencySinusoidTasks(noise_scale=-1)


@pytest.mark.parametrize(
    ("family", "low", "high"),
    [
        (SinusoidTasks(), -5, 5),
        (SinusoidTasks(input_range=(5, 6)), 5, 6),
        (FrequencySinusoidTasks(input_range=(-1, 0)), -1, 0),
    ],
)
def test_inputs_are_uniform(family, low, high):
    inputs, _ = family.draw(family.sample(2, rng()), 20_000, rng())
    assert (inputs.min(), inputs.max()) == pytest.approx((low, high), abs=0.01)
    assert inputs.mean() == pytest.approx((low + high) / 2, abs=0.05)
    assert family.inputs == spaces.Box(low, high, (1,), np.float32)


@pytest.mark.parametrize("bad", [(2, 1), (0, np.inf), (1,), 3.0])
def test_bad_ranges_are_refused(bad):
    with pytest.raises(ValueError, match="phase_range is"):
        SinusoidTasks(phase_range=bad)
