"""The nearest example by pixels: right for classes that are apart, at chance for the same ones."""

import numpy as np
import pytest

from benchmarks.nearest_neighbor import accuracies
from envs.few_shot.images import FewShotTasks
from tests.helpers.few_shot import rng

SPLITS = {"train": (0, 1, 2), "test": (3, 4, 5)}


@pytest.mark.parametrize(("apart", "expected"), [(1.0, 1.0), (0.0, 1 / 3)])
def test_classes_of_images(apart, expected):
    classes = [apart * k / 6 + 0.01 * rng(k).random((12, 4, 4)) for k in range(6)]
    family = FewShotTasks(classes, SPLITS, way=3, rotations=False)
    found = accuracies(family, tasks=200, shots=1, queries=5, seed=0)
    assert found.shape == (200,)
    assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(200) + 1e-9
