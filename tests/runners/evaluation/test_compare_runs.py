"""Runs beside one another and their baselines."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rlmaml.rng import Phase
from runners.evaluation import baselines
from runners.evaluation import measure as measuring
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.results import Comparison, Evaluation
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, refused, run, tiny

pytestmark = pytest.mark.slow

SMALL = EvalConfig(tasks=3, episodes=2, steps=2)


def test_comparing_writes_and_prints_the_same_numbers(seeds, capsys):
    out = seeds[0].path.parent
    words = ("--tasks", 3, "--episodes", 2, "--steps", 2, "--quiet")
    run("evaluate", *(f.path for f in seeds), "--against", "oracle", "random", "pretrained", *words)
    printed = capsys.readouterr().out
    result = json.loads((out / "comparison.json").read_text())
    methods = result["methods"]
    assert list(methods) == ["meta-trained", "random", "pretrained", "oracle"]
    assert result["command"].startswith(f"rlmaml evaluate {seeds[0].path}")
    assert (out / "plots" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    for name, method in methods.items():
        scores = np.array(method["scores"])
        assert scores.shape == (2, 3, 1 if name == "oracle" else 3)
        np.testing.assert_allclose(method["mean"], scores.mean((0, 1)))
        np.testing.assert_allclose(method["run_means"], scores.mean(1))
        low, high = np.array(method["mean_ci95"])
        assert (low <= method["mean"]).all()
        assert (high >= method["mean"]).all()
        assert f"{method['mean'][-1]:.3f} [" in printed or f"{method['mean'][-1]:.1f} [" in printed
    start, end = methods["random"]["mean"][0], methods["oracle"]["mean"][0]
    expected = (np.array(methods["pretrained"]["mean"]) - start) / (end - start)
    np.testing.assert_allclose(methods["pretrained"]["gap_closed"], expected)
    assert methods["oracle"]["gap_closed"] is None
    assert methods["random"]["gap_closed"][0] == 0
    assert methods["random"]["train_env_steps"] == [0, 0]
    with open(out / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * (3 + 3 + 3 + 1)
    row = rows[4]
    place = np.array(methods["meta-trained"]["scores"])[0, 1, 1]
    assert (row["method"], row["seed"], row["steps"]) == ("meta-trained", "0", "1")
    assert float(row["return"]) == place


def test_all_methods_meet_the_same_tasks_and_draws(seeds, monkeypatch):
    keys = []
    collect = measuring.collect

    def noted(*arguments, key, **more):
        keys.append(key)
        return collect(*arguments, key=key, **more)

    monkeypatch.setattr(measuring, "collect", noted)
    compare_runs(seeds, SMALL, against=("random", "oracle"), quiet=True)
    assert len(keys) == 6
    assert set(keys) == {(0, 0, Phase.EVALUATION_ROLLOUT)}
    places = [*seeds, *(seeds[0].path / "baselines" / n for n in ("random", "oracle"))]
    found = [json.loads((getattr(p, "path", p) / "evaluation.json").read_text()) for p in places]
    assert len({str([task["task"] for task in each["per_task"]]) for each in found}) == 1


def test_pretrained_takes_the_best_of_the_sizes_that_are_tried(seeds):
    result = compare_runs(
        seeds[:1],
        SMALL,
        against=("pretrained",),
        pretrained_step_sizes=(1e30, 1e-3, 0.1),
        quiet=True,
    )
    method, folder = (
        result.methods["pretrained"],
        RunDir(seeds[0].path / "baselines" / "pretrained"),
    )
    for size, means in method.sizes_tried.items():
        alone = measure(folder, dataclasses.replace(SMALL, step_size=float(size)), quiet=True)
        np.testing.assert_allclose(means, alone.mean, rtol=1e-5)
    best = max(method.sizes_tried, key=lambda size: method.sizes_tried[size][1:].max())
    assert method.step_size.tolist() == [float(best)]
    np.testing.assert_array_equal(method.mean, method.sizes_tried[best])
    assert list(method.sizes_tried) == ["0.001", "0.1"]  # with the other it blows up
    assert f"steps of {best}, of 0.001, 0.1 the best" in str(result)
    assert Evaluation.load(folder.evaluation).step_size == float(best)
    read = Comparison.load(seeds[0].path / "comparison.json").methods["pretrained"]
    assert read.sizes_tried.keys() == method.sizes_tried.keys()
    assert read.train_seconds[0] > 0


def test_sizes_to_try_are_checked(seeds, capsys):
    words = ("evaluate", seeds[0].path, "--pretrained-step-sizes")
    assert "goes with --against pretrained" in refused(capsys, *words, 0.1)
    against = ("--against", "pretrained")
    assert "above 0 and finite; got 0, inf" in refused(capsys, *words, 0, "inf", *against)


def test_without_random_the_gap_begins_before_adaptation(seeds):
    result = compare_runs(seeds, SMALL, against=("oracle",), quiet=True)
    assert result.reference == "meta-trained"
    assert result.methods["meta-trained"].gap_closed[0] == 0


def test_runs_of_other_settings_are_another_method(seeds, tmp_path):
    other = tiny(tmp_path / "dice", "--inner.surrogate", "dice", preset="half-cheetah-dir")
    result = compare_runs([*seeds, other], SMALL, out=tmp_path, quiet=True)
    assert {name: len(m.runs) for name, m in result.methods.items()} == {
        "inner.surrogate lvc": 2,
        "inner.surrogate dice": 1,
    }


def test_the_best_checkpoint_is_the_runs_own(tmp_path):
    folder = tiny(tmp_path / "run", "--iterations", 6)
    best = dataclasses.replace(SMALL, checkpoint=Path("best"))
    result = compare_runs([folder], best, against=("random",), quiet=True)
    alone = measure(folder, best, quiet=True)
    assert result.methods["meta-trained"].mean == pytest.approx(alone.mean, rel=1e-5)
    assert result.checkpoint == alone.checkpoint == "best"


def test_impossible_comparisons_are_refused_before_anything_is_trained(tmp_path, capsys):
    folder = tiny(tmp_path / "run")
    all_three = ("evaluate", folder.path, "--against", *baselines.BASELINES)
    assert "at least 1" in refused(capsys, *all_three, "--tasks", 0)
    assert "There is no checkpoint" in refused(
        capsys, *all_three, "--checkpoint", tmp_path / "nope"
    )
    assert "No such CUDA device" in refused(capsys, *all_three, "--device", "cuda:9")
    words = ("--iterations", 1, "--tasks", 2, "--threads", 1, "--validation-tasks", 0)
    run("train", "digits", "--out", tmp_path / "digits", *words)
    images = ("evaluate", tmp_path / "digits", "--against", "pretrained", "oracle")
    assert "beside a vector" in refused(capsys, *images)
    assert not (folder.path / "baselines").exists()
    assert not (tmp_path / "digits" / "baselines").exists()


def test_steps_that_diverge_have_no_score_and_no_gap(tmp_path, capsys):
    words = ("--iterations", 2, "--tasks", 3, "--threads", 1, "--checkpoint-every", 2)
    run("train", "sinusoid", "--out", tmp_path / "run", *words)
    folder = RunDir(tmp_path / "run")
    result = compare_runs(
        [folder],
        EvalConfig(tasks=4, steps=3, step_size=1e12),
        against=("random", "oracle"),
        quiet=True,
    )
    assert np.isnan(result.methods["meta-trained"].gap_closed[-1])
    assert "diverged" in str(result)
    assert "inf" not in str(result.table())
    assert capsys.readouterr().err == ""
    policy = tiny(tmp_path / "policy")
    words = ("evaluate", policy.path, "--against", "random", "--step-size", "1e30")
    assert str(policy.path) in refused(capsys, *words)


def test_a_run_that_is_not_finished_says_so(tmp_path, capsys):
    folder = tiny(tmp_path / "run", "--iterations", 2)
    folder.write_config(dataclasses.replace(folder.read_config(), iterations=4))
    compare_runs([folder], SMALL, against=("random",), quiet=True)
    assert "2 of its 4 iterations" in capsys.readouterr().err


def test_supervised_runs_have_the_same_baselines(tmp_path):
    words = ("--iterations", 2, "--tasks", 3, "--threads", 1, "--checkpoint-every", 2)
    run("train", "sinusoid", "--out", tmp_path / "run", *words)
    result = compare_runs(
        [RunDir(tmp_path / "run")],
        EvalConfig(tasks=5, steps=1),
        against=baselines.BASELINES,
        quiet=True,
    )
    assert list(result.methods) == ["meta-trained", *baselines.BASELINES]
    examples = [method.train_env_steps[0] for method in result.methods.values()]
    assert examples == [2 * 3 * 20, 0, 2 * 3 * 20, 2 * 3 * 20]


def test_other_families_and_other_baselines_are_refused(seeds, tmp_path, capsys):
    other = tiny(tmp_path / "vel")
    place = tmp_path / "vel" / "baselines" / "random"
    run("train", "half-cheetah-vel", "--out", place, *TINY, "--iterations", 0, "--seed", 5)
    both = (seeds[0].path, other.path)
    assert "several families" in refused(capsys, "evaluate", *both)
    assert "seed: 5 -> 0" in refused(capsys, "evaluate", other.path, "--against", "random")
    assert "Name a run folder" in refused(capsys, "evaluate")
    paths = (f.path for f in seeds)
    assert "is one run's" in refused(capsys, "evaluate", *paths, "--checkpoint", "x/000004")
    longer = tiny(tmp_path / "longer", "--horizon", 7, preset="half-cheetah-dir")
    assert "horizon" in refused(capsys, "evaluate", seeds[0].path, longer.path)
