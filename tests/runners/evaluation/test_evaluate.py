"""`rlmaml evaluate`: one run, or several; what it writes, prints and refuses."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tyro

from rlmaml.errors import ConfigError
from runners.command_line import cli
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate, evaluate_run
from runners.evaluation.results import Comparison, Evaluation
from runners.run_dir import RunDir
from tests.helpers.runs import evaluated, refused, run, tiny

pytestmark = pytest.mark.slow

SMALL = EvalConfig(tasks=3, episodes=2, steps=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "magic"], "random"),
        (["--out", "x"], "comparisons"),
        (["--later-step-share", "half"], "half"),
    ],
)
def test_bad_comparisons_are_refused(seeds, capsys, words, message):
    assert message in refused(capsys, "evaluate", seeds[0].path, *words)


def test_one_run_is_written_as_json_csv_and_plots(tmp_path):
    folder = tiny(tmp_path / "run")
    result = evaluate((folder.path,), SMALL, quiet=True)
    assert isinstance(result, Evaluation)
    assert f"Written: {folder.evaluation}, evaluation.csv" in str(result)
    stored = json.loads(folder.evaluation.read_text())
    assert stored["mean"] == result.mean.tolist()
    with open(folder.path / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2
    assert float(rows[1]["return"]) == result.scores["return"][0, 1]
    plots = {path.name for path in folder.plots.iterdir()}
    assert plots == {"learning.png", "adaptation.png", "tasks.png"}


def test_a_run_that_was_killed_gets_its_learning_curve(tmp_path):
    folder = tiny(tmp_path / "run")
    curve = folder.plots / "learning.png"
    drawn = curve.read_bytes()
    curve.unlink()  # training draws it at its end
    evaluate_run(folder, SMALL, quiet=True)
    assert curve.read_bytes() == drawn
    curve.unlink()
    (folder.path / "metrics.jsonl").unlink()
    evaluate_run(folder, SMALL, quiet=True)
    assert not curve.exists()


def test_a_regression_has_its_curves_plotted(tmp_path):
    folder = tiny(tmp_path / "run", preset="sinusoid")
    evaluate_run(folder, EvalConfig(tasks=3, steps=1), quiet=True)
    plots = {path.name for path in folder.plots.iterdir()}
    assert plots == {"learning.png", "adaptation.png", "fits.png"}


def test_several_runs_are_compared(seeds, tmp_path):
    paths = tuple(folder.path for folder in seeds)
    result = evaluate(paths, SMALL, out=tmp_path, quiet=True)
    assert isinstance(result, Comparison)
    assert f"Written: {tmp_path / 'comparison.json'}, comparison.csv" in str(result)
    assert (tmp_path / "plots" / "comparison.png").exists()


def test_the_command_line_is_its_signature(seeds):
    words = [str(seeds[0].path), "--tasks", "3", "--episodes", "2", "--steps", "1", "--quiet"]
    result = tyro.cli(evaluate, args=[*words, "--inner-lr", "0.3"])
    assert result.step_size == 0.3
    assert result.steps == (0, 1)


def test_help_has_every_option_once(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(evaluate, args=["--help"])
    shown = capsys.readouterr().out
    for option in ("--tasks", "--against", "--inner-lr", "--later-step-share", "--quiet"):
        assert shown.count(f"{option} ") + shown.count(f"{option},") >= 1, option
    assert "Draws the tasks" in shown


def test_what_cannot_be_evaluated(seeds):
    with pytest.raises(ConfigError, match="Name a run folder"):
        evaluate(())
    with pytest.raises(ConfigError, match="--out is for comparisons"):
        evaluate((seeds[0].path,), out=Path("x"))


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
