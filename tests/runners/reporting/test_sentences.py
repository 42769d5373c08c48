"""Sentences of a report."""

import dataclasses

import numpy as np

from runners.evaluation.results import Evaluation
from runners.evaluation.summaries import Fit
from runners.presets import PRESETS
from runners.reporting import sentences

CHEETAH, SINUSOID = PRESETS["half-cheetah-vel"][1], PRESETS["sinusoid"][1]
LINE = {"iteration": 9, "env_steps": 3_200_000, "seconds": 90.0, "return/pre": -80.0}
RESULT = Evaluation(
    metric="return",
    preset="half-cheetah-vel",
    steps=(0, 1, 2),
    tasks=np.array([[0.5], [1.5]]),
    episodes=20,
    iteration=10,
    train_env_steps=1,
    scores={"return": np.array([[-90.0, -40.0, -50.0], [-70.0, -20.0, -10.0]])},
    mean=np.array([-80.0, -30.0, -30.0]),
    ci95=np.ones(3),
)


def test_training():
    two = sentences.trained(CHEETAH, [[LINE], [LINE]], [0, 1])
    assert two.startswith("10 meta-iterations of ")
    assert "3.2 million environment steps in 90 seconds each; seeds 0 and 1." in two
    assert "before and again after every inner step" in two
    none = sentences.trained(SINUSOID, [[]], [3])
    assert none.startswith("0 meta-iterations")
    assert none.endswith("examples each; seed 3.")


def test_what_adaptation_does():
    assert sentences.achieved(CHEETAH, RESULT, 1) == (
        "One gradient step on 20 episodes of a task it has never seen takes the mean return from "
        "−80.0 to −30.0."
    )
    plain = dataclasses.replace(CHEETAH, inner=dataclasses.replace(CHEETAH.inner, steps=0))
    assert sentences.achieved(plain, RESULT, 1) == "Without adaptation the mean return is −80.0."


def test_held_out_tasks():
    episodes = sentences.held_out(RESULT)
    assert episodes == "2 tasks never seen in training, 20 fresh episodes per task and step"
    examples = dataclasses.replace(RESULT, metric="accuracy", episodes=None, shots=5, queries=15)
    assert sentences.held_out(examples).endswith(
        "each learned from 5 examples per class and scored on 15 others"
    )


def test_what_figures_show():
    alt = sentences.adaptation_alt("return", {"all tasks": RESULT.mean}, RESULT.steps, 1)
    assert alt == (
        "Return per episode after 0, 1 and 2 inner gradient steps: all tasks −80.0, −30.0, −30.0."
    )
    assert sentences.tasks_alt(RESULT, 1) == (
        "Return of each of 2 tasks: before adaptation from −90.0 to −70.0, after 1 step from −40.0 "
        "to −20.0, after 2 steps from −50.0 to −10.0."
    )
    lines = [LINE | {"return/post": value} for value in (-70.0, -20.0)]
    assert "after adaptation rises from −70.0 to −20.0 over 3.2 million" in (
        sentences.learning_alt("return", lines, CHEETAH)
    )
    fit = Fit(np.zeros(1), np.zeros(3), np.zeros((3, 3)), np.zeros((2, 1)), np.zeros((2, 1)))
    errors = {"mse": np.array([[4.0, 2.0, 1.0], [9.0, 9.0, 9.0]])}
    fitted = dataclasses.replace(RESULT, metric="mse", scores=errors, fits=(fit,))
    assert sentences.fits_alt(fitted).endswith(
        "4.000 before adaptation, 2.000 after 1 step, 1.000 after 2 steps."
    )


def test_baselines_beside():
    assert sentences.beside({}, 1, 1) == ""
