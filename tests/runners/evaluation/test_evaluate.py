"""Evaluation by the training code, on held-out tasks."""

import json
import os

import numpy as np
import pytest

from rlmaml.errors import ConfigError
from runners import cli
from runners.run_dir import RunDir
from tests.helpers.runs import evaluated, run, tiny


def test_kinds_of_task_have_names(tmp_path, capsys):
    folder = tiny(tmp_path / "run", preset="half-cheetah-dir")
    run("evaluate", folder.path, "--tasks", 4, "--episodes", 2, "--steps", 1)
    result = json.loads(folder.evaluation.read_text())
    returns = {task["task"]: [] for task in result["per_task"]}
    for task in result["per_task"]:
        returns[task["task"]].append(task["return"])
    for number, name in enumerate(("goal: forward", "goal: backward")):
        group = result["groups"][name]
        assert group["tasks"] == 2
        np.testing.assert_allclose(group["mean"], np.mean(returns[number], 0), rtol=1e-5)
    assert "\ngoal: backward" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["bandit", "tabular"])
def test_tasks_of_many_numbers_are_evaluated_and_drawn(tmp_path, capsys, preset):
    out = tmp_path / preset
    kwargs = {"num_states": 3, "num_actions": 2} if preset == "tabular" else {"num_arms": 3}
    tiny(out, "--env.kwargs", json.dumps(kwargs), preset=preset)
    run("evaluate", out, "--tasks", 4, "--episodes", 2, "--steps", 1)
    result = json.loads((out / "evaluation.json").read_text())
    assert np.shape(result["per_task"][0]["task"]) == ((3, 2, 4) if preset == "tabular" else (3,))
    assert "regret" in result["others"]
    assert {"adaptation.png", "tasks.png"} <= set(os.listdir(out / "plots"))
    assert f"{result['mean'][1]:.3f} ±" in capsys.readouterr().out  # small returns need digits


def test_evaluation_draws_from_the_test_split_and_counts_divergences(tmp_path):
    ranges = '{"goal_range": [0, 1], "test_goal_range": [2, 3]}'
    folder = tiny(tmp_path / "run", "--env.kwargs", ranges, "--iterations", 1)
    result = evaluated(folder, tasks=5, episodes=2, steps=1)
    assert all(2 <= task["task"][0] <= 3 for task in result["per_task"])
    assert all(task["diverged"] == [0, 0] for task in result["per_task"])


QUICK = ("--iterations", "2", "--tasks", "2", "--validation-tasks", "0", "--quiet")


def test_learned_step_sizes_are_not_replaced(tmp_path, capsys):
    for name, method in (("a", "meta-sgd"), ("b", "maml++")):
        run("train", "sinusoid", "--algorithm", method, *QUICK, "--out", tmp_path / name)
        with pytest.raises(SystemExit):
            run("evaluate", tmp_path / name, "--step-size", "0.1", "--quiet")
        assert f"step sizes that {method} has learned" in capsys.readouterr().err
    words = ("--algorithm", "maml++", "--algorithm-settings.learn-step-sizes", "False")
    run("train", "sinusoid", *words, *QUICK, "--out", tmp_path / "c")
    run("evaluate", tmp_path / "c", "--step-size", "0.1", "--tasks", "3", "--quiet")


def particles(tmp_path, preset, *words):
    shared = ("--algorithm", "bayesian-maml", "--iterations", "1", "--quiet")
    cli.main(["train", preset, "--out", str(tmp_path / "run"), *shared, *words])


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
    particles(tmp_path, "navigation", *words, "--trust-region.fisher-fraction", "0.25")
    folder = RunDir(tmp_path / "run")
    options = {"tasks": 2, "steps": 4}
    assert len(evaluated(folder, episodes=4, **options)["mean"]) == 5
    with pytest.raises(ConfigError, match="episodes must be a multiple"):
        evaluated(folder, episodes=5, **options)
