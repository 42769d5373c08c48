"""The nearest example by pixels, and the nearest prototype."""

import numpy as np
import pytest
import torch

import rlmaml
from benchmarks.nearest_neighbor import accuracies, features_of
from envs.few_shot.images import FewShotTasks
from tests.helpers.few_shot import rng
from tests.helpers.runs import run

SPLITS = {"train": (0, 1, 2), "test": (3, 4, 5)}


@pytest.mark.parametrize(("apart", "expected"), [(1.0, 1.0), (0.0, 1 / 3)])
def test_classes_of_images(apart, expected):
    classes = [apart * k / 6 + 0.01 * rng(k).random((12, 4, 4)) for k in range(6)]
    family = FewShotTasks(classes, SPLITS, way=3, rotations=False)
    found = accuracies(family, tasks=200, shots=1, queries=5, seed=0)
    assert found.shape == (200,)
    assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(200) + 1e-9


@pytest.mark.parametrize("shots", [1, 3])
def test_prototypes_are_means_of_features(shots):
    """Of the one feature that tells classes apart, beside one of noise that images are made of."""
    classes = [np.stack([rng(k).random((12, 4)), np.full((12, 4), k / 6)], -1) for k in range(6)]
    family = FewShotTasks(classes, SPLITS, way=3, rotations=False)

    def telling(images):
        return images.reshape(len(images), -1, 2)[:, :1, 1]

    found = accuracies(family, tasks=20, shots=shots, queries=5, seed=0, features=telling)
    assert (found == 1).all()


@pytest.mark.slow
def test_features_are_what_the_last_layer_is_given(tmp_path):
    options = ("--iterations", 1, "--tasks", 4, "--validation-tasks", 0, "--threads", 1)
    run("train", "digits", "--out", tmp_path / "run", *options)
    images = rng(0).random((7, 1, 8, 8), dtype=np.float32)
    predictor = rlmaml.load(tmp_path / "run").adapt(images, np.zeros(7, int), steps=0)
    found = features_of(tmp_path / "run")(images)
    logits = predictor.module.logits(torch.from_numpy(found))
    torch.testing.assert_close(logits, predictor.distribution(images).logits)
