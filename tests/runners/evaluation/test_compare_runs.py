"""Baselines, and runs beside them."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import checkpoint, tree
from rlmaml.rng import Phase
from runners import cli, presets
from runners.evaluation import baselines
from runners.evaluation import measure as measuring
from runners.evaluation.baselines import baseline_config
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.grouping import by_method
from runners.evaluation.measure import measure
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, learned, run, tiny

SMALL = EvalConfig(tasks=3, episodes=2, steps=2)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    words = ["train", "half-cheetah-dir", "--out", out, *TINY, "--seeds", 0, 1]
    run(*words)
    return [RunDir(out / f"seed-{seed}") for seed in (0, 1)]


def baseline(folder, name):
    return baselines.trained(baselines.plan(folder, name), quiet=True)


def test_baselines_are_what_they_are_called():
    _, config = presets.PRESETS["navigation"]
    random, pretrained, oracle = (baseline_config(config, name) for name in baselines.BASELINES)
    assert random == dataclasses.replace(config, iterations=0)
    assert pretrained.inner.steps == oracle.inner.steps == 0
    assert oracle.env.observe_task
    assert not pretrained.env.observe_task
    assert dataclasses.replace(oracle, env=config.env) == pretrained


@pytest.mark.parametrize("hessian", ["support", "separate"])
def test_the_budget_is_the_runs_own_environment_steps(tmp_path, hessian):
    folder = tiny(tmp_path / "run", "--inner.hessian", hessian, "--inner.steps", "2")
    trained = baseline(folder, "pretrained")
    totals = [learned(each).state["totals"]["env_steps"] for each in (folder, trained)]
    assert totals[0] == totals[1] == 4 * (5 if hessian == "separate" else 3) * 2 * 3 * 6


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


def test_without_random_the_gap_begins_before_adaptation(seeds):
    result = compare_runs(seeds, SMALL, against=("oracle",), quiet=True)
    assert result.reference == "meta-trained"
    assert result.methods["meta-trained"].gap_closed[0] == 0


def test_the_random_baseline_is_the_untrained_network_adapted_alike(seeds):
    folder = baseline(seeds[0], "random")
    untrained = seeds[0].path.parent / "untrained"
    if not untrained.exists():
        run("train", "half-cheetah-dir", "--out", untrained, *TINY, "--iterations", 0)
    same = zip(
        *(tree.leaves(learned(each).meta) for each in (folder, RunDir(untrained))), strict=True
    )
    assert all(torch.equal(a, b) for a, b in same)
    results = [measure(each, SMALL, quiet=True) for each in (folder, RunDir(untrained))]
    assert results[0].mean.tolist() == results[1].mean.tolist()


def test_baselines_are_trained_once_and_gone_on_with(seeds, monkeypatch):
    first = baseline(seeds[0], "pretrained")
    before = (first.path / "metrics.jsonl").read_bytes()
    baseline(seeds[0], "pretrained")
    assert (first.path / "metrics.jsonl").read_bytes() == before
    newest = checkpoint.latest(first.checkpoints)  # as though stopped before the last checkpoint
    whole = learned(first)
    for part in newest.iterdir():
        part.unlink()
    newest.rmdir()
    again = learned(baseline(seeds[0], "pretrained"))
    assert again.iteration == whole.iteration
    assert all(map(torch.equal, tree.leaves(again.meta), tree.leaves(whole.meta)))


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


def test_a_learning_rate_schedule_is_not_stretched():
    """It is made for a number of iterations: so many more tasks are drawn in each instead."""
    _, config = presets.PRESETS["sinusoid"]
    schedule = {"schedule": "OneCycleLR", "schedule_kwargs": {"max_lr": 1.0, "total_steps": 100}}
    optimizer = dataclasses.replace(config.optimizer, **schedule)
    config = dataclasses.replace(config, optimizer=optimizer, iterations=100)
    pretrained = baseline_config(config, "pretrained")
    assert (pretrained.iterations, pretrained.tasks) == (100, 2 * config.tasks)


def test_another_comparison_is_not_overwritten(seeds, tmp_path, capsys):
    others = [tiny(tmp_path / name, preset="half-cheetah-dir") for name in ("a", "b", "c")]
    compare_runs(others[:2], SMALL, quiet=True)
    before = (tmp_path / "comparison.json").read_text()
    refused("evaluate", *(f.path for f in others[1:]), message="compares other runs", by=capsys)
    assert (tmp_path / "comparison.json").read_text() == before
    compare_runs(others, SMALL, quiet=True)  # which are those and one more
    refused("evaluate", others[0].path, others[0].path, message="named twice", by=capsys)
    refused("evaluate", *(f.path for f in others), "--out", "/", message="--out", by=capsys)


def test_impossible_comparisons_are_refused_before_anything_is_trained(tmp_path, capsys):
    folder = tiny(tmp_path / "run")
    all_three = ("evaluate", folder.path, "--against", *baselines.BASELINES)
    refused(*all_three, "--tasks", 0, message="at least 1", by=capsys)
    refused(
        *all_three, "--checkpoint", tmp_path / "nope", message="There is no checkpoint", by=capsys
    )
    refused(*all_three, "--device", "cuda:9", message="No such CUDA device", by=capsys)
    words = ("--iterations", 1, "--tasks", 2, "--threads", 1, "--validation-tasks", 0)
    run("train", "digits", "--out", tmp_path / "digits", *words)
    images = ("evaluate", tmp_path / "digits", "--against", "pretrained", "oracle")
    refused(*images, message="beside a vector", by=capsys)
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
    refused(
        "evaluate",
        policy.path,
        "--against",
        "random",
        "--step-size",
        "1e30",
        message=str(policy.path),
        by=capsys,
    )


def test_a_run_that_is_not_finished_says_so(tmp_path, capsys):
    folder = tiny(tmp_path / "run", "--iterations", 2)
    folder.write_config(dataclasses.replace(folder.read_config(), iterations=4))
    compare_runs([folder], SMALL, against=("random",), quiet=True)
    assert "2 of its 4 iterations" in capsys.readouterr().err


def refused(*words, message, by):
    by.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    assert stop.value.code == 2
    errors = by.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_later_steps_may_be_half_as_long(seeds):
    whole = measure(seeds[0], SMALL, quiet=True)
    halved = measure(seeds[0], dataclasses.replace(SMALL, halve_later_steps=True), quiet=True)
    assert halved.later_step_size == whole.step_size / 2
    assert halved.mean[:2].tolist() == whole.mean[:2].tolist()
    assert halved.mean[2] != whole.mean[2]


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "magic"], "'random', 'pretrained', 'oracle'"),
        (["--out", "x"], "comparisons"),
        (["--halve-later-steps", "maybe"], "maybe"),
    ],
)
def test_bad_comparisons_are_one_line(seeds, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        run("evaluate", seeds[0].path, *words)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_other_families_and_other_baselines_are_refused(seeds, tmp_path, capsys):
    other = tiny(tmp_path / "vel")
    place = tmp_path / "vel" / "baselines" / "random"
    run("train", "half-cheetah-vel", "--out", place, *TINY, "--iterations", 0, "--seed", 5)
    both = (seeds[0].path, other.path)
    refused("evaluate", *both, message="several families", by=capsys)
    refused("evaluate", other.path, "--against", "random", message="seed: 5 -> 0", by=capsys)
    refused("evaluate", message="Name a run folder", by=capsys)
    paths = (f.path for f in seeds)
    refused("evaluate", *paths, "--checkpoint", "x/000004", message="is one run's", by=capsys)
    longer = tiny(tmp_path / "longer", "--horizon", 7, preset="half-cheetah-dir")
    refused("evaluate", seeds[0].path, longer.path, message="horizon", by=capsys)


def test_an_oracle_adapts_to_no_plain_environment(seeds):
    import gymnasium

    place = baseline(seeds[0], "oracle")
    with pytest.raises(ValueError, match="other spaces"):
        rlmaml.load(place.path).adapt(gymnasium.make("envs:rlmaml/HalfCheetahDir-v0"))


def test_runs_by_several_algorithms_are_named_by_them():
    """And by what differs among those of one, not by what an algorithm has of its own."""
    plain = presets.PRESETS["sinusoid"][1]
    cavia = plain.with_algorithm("cavia")
    wide = dataclasses.replace(
        cavia, algorithm_settings=dataclasses.replace(cavia.algorithm_settings, contexts=9)
    )
    configs = [plain, cavia, dataclasses.replace(cavia, seed=1), wide]
    folders = [RunDir(Path(name)) for name in "abcd"]
    found = by_method(folders, configs)
    assert found == {
        "maml": [folders[0]],
        "cavia, algorithm_settings.contexts 5": folders[1:3],
        "cavia, algorithm_settings.contexts 9": [folders[3]],
    }
    assert list(by_method(folders[:1], configs[:1])) == ["meta-trained"]


def test_baselines_of_another_method_adapt_by_the_steps_of_the_preset():
    plain = presets.PRESETS["sinusoid"][1]
    cavia = plain.with_algorithm("cavia")  # whose steps are of another size
    found = baseline_config(cavia, "pretrained")
    assert (found.algorithm, found.inner.steps) == ("maml", 0)
    assert found.inner.step_size == plain.inner.step_size != cavia.inner.step_size
    assert found.iterations == 2 * cavia.iterations
    reptile = plain.with_algorithm("reptile")  # five times ten examples, and ten
    without = dataclasses.replace(reptile.optimizer, schedule=None, schedule_kwargs={})
    reptile = dataclasses.replace(reptile, optimizer=without)
    assert baseline_config(reptile, "pretrained").iterations == 6 * reptile.iterations
    assert baseline_config(cavia, "random") == dataclasses.replace(cavia, iterations=0)
