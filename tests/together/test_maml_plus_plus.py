"""MAML++ in runs."""

import dataclasses

import numpy as np
import pytest

from rlmaml import load
from rlmaml.algorithms.settings import InnerConfig
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training.train import train

pytestmark = pytest.mark.slow


def test_a_run_is_taken_up_by_python_with_more_steps_than_it_was_trained_with(tmp_path):
    config = with_algorithm(PRESETS["sinusoid"][1], "maml++")
    config = dataclasses.replace(config, iterations=2, tasks=2, inner=InnerConfig(2, 0.05))
    settings = dataclasses.replace(config.algorithm_settings, cosine_iterations=2)
    train(dataclasses.replace(config, algorithm_settings=settings), tmp_path / "run", quiet=True)
    learner = load(tmp_path / "run")
    assert learner.meta["rates"]["mean.0.bias"].shape == (2,)
    x = np.linspace(-5, 5, 10)[:, None]
    predictions = [learner.adapt(x, np.sin(x), steps=k)(x) for k in (1, 2, 5)]
    assert np.isfinite(predictions).all()
    errors = [((y - np.sin(x)) ** 2).mean() for y in predictions]
    assert errors[0] > errors[1] > errors[2]
    with pytest.raises(ValueError, match=r"step sizes that maml\+\+ has learned"):
        learner.adapt(x, np.sin(x), step_size=0.1)
