"""Labeled examples from training to plots."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlmaml import tree
from rlmaml.rng import Phase, generator
from runners import presets
from runners.environments import build_experiment
from runners.run_dir import RunDir
from tests.helpers.runs import learned, run

pytestmark = pytest.mark.slow

TINY = ("--tasks", "4", "--checkpoint-every", "3", "--log-every", "2", "--threads", "1")


SMALL = ("--iterations", "6", "--policy.hidden", "8", "--conv.filters", "4", *TINY)


def tiny(preset, out, *more):
    run("train", preset, "--out", out, *SMALL, *more)
    return RunDir(out)


@pytest.mark.pictures
def test_a_regression_from_training_to_plots(tmp_path, capsys):
    folder = tiny("sinusoid", tmp_path / "run", "--validation-tasks", "5")
    lines = folder.read_metrics()
    # Every second iteration, every checkpoint and what measures one.
    assert [line["iteration"] for line in lines] == [1, 2, 3, 5]
    assert lines[-1]["env_steps"] == 6 * 4 * 20
    assert all({"mse/pre", "mse/post", "loss", "learning_rate"} <= set(line) for line in lines)
    assert lines[0]["loss"] == pytest.approx(lines[0]["mse/post"], rel=1e-5)
    validated = {line["iteration"] + 1: line.get("validation/mse/post") for line in lines}
    assert [validated[3] is not None, validated[6] is not None] == [True, True]
    best = min((3, 6), key=lambda done: validated[done])
    assert learned(folder).state["totals"]["best_iteration"] == best
    assert "Best mse by validation on 5 tasks" in capsys.readouterr().out

    run("evaluate", folder.path, "--tasks", "7", "--steps", "2", "--queries", "30")
    said = capsys.readouterr().out
    assert "mse on 7 held-out tasks" in said
    result = json.loads(folder.evaluation.read_text())
    assert result["metric"] == "mse"
    assert len(result["per_task"]) == 7
    assert result["mean"] == pytest.approx(np.mean([t["mse"] for t in result["per_task"]], 0))
    for name in ("learning", "adaptation", "fits"):
        assert (folder.plots / f"{name}.png").stat().st_size > 5000
    fit = result["fits"][0]
    amplitude, phase = fit["task"]
    x, y = np.array(fit["query"])
    assert np.allclose(y, amplitude * np.sin(x - phase), atol=1e-5)
    assert np.array(fit["curves"]).shape == (3, len(fit["grid"]))


@pytest.mark.parametrize("batch_norm", ["transductive", "support"])
def test_images_say_which_batch_norm(tmp_path, capsys, image_folder, batch_norm):
    options = ("--env.kwargs", json.dumps({"root": str(image_folder), "way": 3, "size": 20}))
    options += ("--conv.batch-norm", batch_norm, "--validation-tasks", "3")
    folder = tiny("images", tmp_path / "run", *options, "--examples.queries", "2")
    run("evaluate", folder.path, "--tasks", "4", "--steps", "1", "--checkpoint", "best")
    said = capsys.readouterr().out
    assert f"accuracy on 4 held-out tasks ({batch_norm} batch norm)" in said
    result = json.loads(folder.evaluation.read_text())
    assert result["note"] == f"{batch_norm} batch norm"
    assert "cross_entropy" in result["others"]
    assert result["iteration"] == learned(folder).state["totals"]["best_iteration"]
    validated = [line.get("validation/accuracy/post", -1) for line in folder.read_metrics()]
    assert learned(folder).state["totals"]["best_score"] == max(validated)


def test_accuracy_does_not_depend_on_the_other_queries_with_support_statistics(image_folder):
    """Evaluated with one query per class or with several, the first predictions are the same."""
    config = presets.PRESETS["images"][1]
    config = replace(
        config,
        env=replace(config.env, kwargs={"root": str(image_folder), "way": 3, "size": 20}),
        conv=replace(config.conv, filters=4, batch_norm="support"),
    )
    experiment = build_experiment(config)
    tasks = experiment.sample_tasks(2, generator(0, 0, Phase.EVALUATION_TASKS), split="test")
    data = experiment.sampler(None, tasks, (0, 0, 0), "query")
    policy = experiment.algorithm.policy
    for i in range(2):
        query = tree.map(lambda leaf, i=i: leaf[i], data)
        few = query.inputs._replace(inputs=query.inputs.inputs[:3])
        whole = policy(experiment.params, query.inputs).logits
        assert torch.allclose(whole[:3], policy(experiment.params, few).logits, atol=1e-5)


def test_the_same_world_by_rewards(tmp_path, capsys):
    run("train", "sinusoid-episodes", "--out", tmp_path / "run", "--iterations", "2")
    run("evaluate", tmp_path / "run", "--tasks", "3", "--steps", "1", "--episodes", "5")
    assert "return on 3 held-out tasks" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["bag", "transformer"])
def test_texts_from_training_to_a_page(tmp_path, capsys, text_table, model):
    options = ("--env.kwargs", json.dumps({"root": str(text_table), "way": 3, "length": 10}))
    options += ("--text.model", model, "--text.dimension", "8", "--validation-tasks", "3")
    folder = tiny("text", tmp_path / "run", *options)
    # As though killed before it was written.
    shutil.rmtree(folder.checkpoints / "000006")
    run("train", "--resume", folder.path)
    run("evaluate", folder.path, "--tasks", "4", "--steps", "2", "--against", "random")
    assert "accuracy" in capsys.readouterr().out
    run("report", folder.path)
    assert (folder.path / "report.html").stat().st_size > 5000
    other = tmp_path / "other.csv"
    other.write_text(text_table.read_text().replace("own3", "own99"))
    moved = json.loads((folder.path / "config.json").read_text())
    moved["config"]["env"]["kwargs"]["root"] = str(other)
    (folder.path / "config.json").write_text(json.dumps(moved))
    with pytest.raises(SystemExit):
        run("evaluate", folder.path, "--tasks", "4")
    assert "are not those that" in capsys.readouterr().err


def test_no_test_classes_is_one_line(tmp_path, capsys):
    kwargs = ("--env.kwargs", '{"sizes": [7, 3, 0]}')
    folder = tiny("digits", tmp_path / "run", *kwargs, "--validation-tasks", "2")
    with pytest.raises(SystemExit):
        run("evaluate", folder.path)
    assert "no test tasks" in capsys.readouterr().err.lower()


def test_a_step_too_large_is_reported_as_diverged(tmp_path, capsys):
    folder = tiny("sinusoid", tmp_path / "run")
    run("evaluate", folder.path, "--step-size", "1e6", "--steps", "9", "--tasks", "3")
    said = capsys.readouterr()
    assert "diverged" in said.out
    assert "Warning" not in said.err
    result = json.loads(folder.evaluation.read_text(), parse_constant=pytest.fail)
    assert result["mean"][0] is not None
    assert result["mean"][-1] is None


def test_best_checkpoint_needs_one(tmp_path, capsys):
    folder = tiny("sinusoid", tmp_path / "run", "--iterations", "2")
    with pytest.raises(SystemExit):
        run("evaluate", folder.path, "--checkpoint", "best")
    assert "no best checkpoint" in capsys.readouterr().err
