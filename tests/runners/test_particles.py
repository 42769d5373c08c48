"""Runs by Bayesian MAML, and what is refused."""

import dataclasses

import gymnasium
import numpy as np
import pytest

import rlmaml
from rlmaml.errors import ConfigError
from runners import cli
from runners.evaluation import evaluate as runs
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir


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


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("sinusoid", {"outer": "trust-region"}, "not go with outer trust-region"),
        (
            "digits",
            {"algorithm_settings.loss": "chaser", "outer": "trust-region"},
            "not go with outer trust-region",
        ),
        ("navigation", {"algorithm_settings.loss": "chaser"}, "not go with outer trust-region"),
        (
            "navigation",
            {"episodes": 21},
            "episodes must be a multiple of algorithm_settings.particles, 5",
        ),
        (
            "navigation",
            {"trust_region.fisher_fraction": 0.1},
            "fisher_fraction .* must be a multiple",
        ),
        (
            "navigation",
            {
                "algorithm_settings.loss": "chaser",
                "outer": "optimizer",
                "inner.surrogate": "log-likelihood",
            },
            "does not correct for",
        ),
        (
            "sinusoid",
            {"algorithm_settings.particles": 0},
            "algorithm_settings.particles must be at least 1",
        ),
        (
            "sinusoid",
            {"algorithm_settings.leader_steps": 0},
            "algorithm_settings.leader_steps must be at least 1",
        ),
        (
            "sinusoid",
            {"algorithm_settings.prior": -1.0},
            "algorithm_settings.prior must be zero or positive",
        ),
        (
            "sinusoid",
            {"algorithm_settings.repulsion": -1.0},
            "algorithm_settings.repulsion must be zero or positive",
        ),
    ],
)
def test_what_is_refused(preset, changes, message):
    config = with_algorithm(PRESETS[preset][1], "bayesian-maml")

    def change():
        parts = {}
        for option, value in changes.items():
            group, _, name = option.rpartition(".")
            part = parts.get(group, getattr(config, group)) if group else None
            parts[group or name] = dataclasses.replace(part, **{name: value}) if group else value
        dataclasses.replace(config, **parts)

    with pytest.raises(ValueError, match=message):
        change()


def test_an_evaluation_may_have_other_numbers_of_episodes(tmp_path):
    """It takes no curvature, so a part of the episodes need not be a multiple."""
    words = (
        "--algorithm-settings.particles",
        "2",
        "--episodes",
        "8",
        "--horizon",
        "5",
        "--tasks",
        "2",
    )
    run(tmp_path, "navigation", *words, "--trust-region.fisher-fraction", "0.25")
    folder = RunDir(tmp_path / "run")
    options = {"tasks": 2, "steps": 4, "quiet": True}
    assert len(runs.evaluate(folder, episodes=4, **options)["mean"]) == 5
    with pytest.raises(ConfigError, match="episodes must be a multiple"):
        runs.evaluate(folder, episodes=5, **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_goes_with_the_usual_settings(preset):
    config = PRESETS[preset][1]
    usual = with_algorithm(config, "bayesian-maml")  # or it is refused
    assert usual.inner.step_size == pytest.approx(2.5 * config.inner.step_size)
    shorter = with_algorithm(dataclasses.replace(config, episodes=15), "bayesian-maml")
    assert shorter.trust_region.fisher_fraction <= 1
