"""Classification by lines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.few_shot.half_planes import LinearClassificationTasks
from tests.helpers.few_shot import rng


@pytest.mark.parametrize("offset", [-0.5, 0.0, 0.5])
def test_lines_are_balanced_and_right(offset):
    family = LinearClassificationTasks()
    angles = np.linspace(0, 2 * np.pi, 24)
    tasks = np.stack([angles, np.full(24, offset)], axis=1)
    (support, labels), (query, wanted) = family.episode(tasks, 5, 300, rng())
    np.testing.assert_array_equal(labels, np.tile([0, 1], (24, 5)))
    np.testing.assert_array_equal(wanted, np.tile([0, 1], (24, 300)))
    for inputs, classes in [(support, labels), (query, wanted)]:
        for (angle, height), xs, cs in zip(tasks, inputs, classes, strict=True):
            side = math.cos(angle) * xs[:, 0].astype(float) + math.sin(angle) * xs[:, 1] > height
            np.testing.assert_array_equal(side, cs == 1)
    drawn, classes = family.draw(tasks, 2000, rng())
    np.testing.assert_allclose(classes.mean(axis=1), 0.5, atol=0.05)
    assert drawn.shape == (24, 2000, 2)


def test_the_smaller_side_is_filled_uniformly():
    # Of angle 0 and offset .5, class 1 is the strip from .5 to 1.
    inputs, labels = LinearClassificationTasks().draw(np.array([[0.0, 0.5]]), 20_000, rng())
    strip = inputs[labels == 1]
    np.testing.assert_allclose(strip.mean(axis=0), [0.75, 0.0], atol=0.02)
    np.testing.assert_allclose(strip.std(axis=0), [0.5 / 12**0.5, 2 / 12**0.5], rtol=0.03)
