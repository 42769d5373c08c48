"""Adapting several networks at once, by Bayesian MAML."""

import gymnasium
import numpy as np
import pytest

import rlmaml
from runners import cli


@pytest.mark.parametrize(
    ("preset", "x", "y"),
    [
        ("sinusoid", np.linspace(-5, 5, 10)[:, None], np.sin(np.linspace(-5, 5, 10))[:, None]),
        ("linear-classification", np.eye(4, 2), np.array([0, 1, 0, 1])),
    ],
)
@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_adapting_in_python_to_examples(tmp_path, preset, x, y, loss):
    run(tmp_path, preset, "--algorithm-settings.loss", loss, "--algorithm-settings.particles", "3")
    predictor = rlmaml.load(tmp_path / "run").adapt(x, y, steps=2)
    assert predictor.predict(x).shape == y.shape
    assert len(next(iter(predictor.module.adapted.values()))) == 3


def test_adapting_in_python_to_an_environment(tmp_path):
    words = (
        "--algorithm-settings.particles",
        "3",
        "--episodes",
        "6",
        "--horizon",
        "5",
        "--tasks",
        "2",
    )
    run(tmp_path, "navigation", *words, "--trust-region.fisher-fraction", "0.5")
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0")
    env.unwrapped.set_task(np.array([0.2, 0.3]))
    policy = rlmaml.load(tmp_path / "run").adapt(env, steps=2)
    action = policy.act(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
    with pytest.raises(ValueError, match="particles, 3; got 4"):
        rlmaml.load(tmp_path / "run").adapt(env, episodes=4)


def run(tmp_path, preset, *words):
    shared = ("--algorithm", "bayesian-maml", "--iterations", "1", "--quiet")
    cli.main(["train", preset, "--out", str(tmp_path / "run"), *shared, *words])
