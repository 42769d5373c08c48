"""Baselines: what they are, what they cost, and that they are trained once."""

import dataclasses

import pytest
import torch

import rlmaml
from rlmaml import checkpoint, tree
from rlmaml.errors import ConfigError
from runners import presets
from runners.evaluation import baselines
from runners.evaluation.baselines import baseline_config
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, learned, run, tiny

pytestmark = pytest.mark.slow

SMALL = EvalConfig(tasks=3, episodes=2, steps=2)


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


def test_a_learning_rate_schedule_is_not_stretched():
    """It is made for a number of iterations: so many more tasks are drawn in each instead."""
    _, config = presets.PRESETS["sinusoid"]
    schedule = {"schedule": "OneCycleLR", "schedule_kwargs": {"max_lr": 1.0, "total_steps": 100}}
    optimizer = dataclasses.replace(config.optimizer, **schedule)
    config = dataclasses.replace(config, optimizer=optimizer, iterations=100)
    pretrained = baseline_config(config, "pretrained")
    assert (pretrained.iterations, pretrained.tasks) == (100, 2 * config.tasks)


def test_an_oracle_adapts_to_no_plain_environment(seeds):
    import gymnasium

    place = baseline(seeds[0], "oracle")
    with pytest.raises(ValueError, match="other spaces"):
        rlmaml.load(place.path).adapt(gymnasium.make("envs:rlmaml/HalfCheetahDir-v0"))


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


def test_names_come_once_and_in_order():
    assert baselines.check_names(("oracle", "random", "oracle")) == ("random", "oracle")
    with pytest.raises(ConfigError, match="takes random, pretrained, oracle; got magic"):
        baselines.check_names(("random", "magic"))


def test_baselines_have_the_presets_optimizer():
    config = PRESETS["sinusoid"][1]
    for name in ("pretrained", "oracle"):
        found = baseline_config(with_algorithm(config, "reptile"), name)
        assert found.optimizer == config.optimizer
        assert found.inner.step_size == config.inner.step_size


def test_baselines_are_not_tracked():
    config = PRESETS["navigation"][1].changed({"track": ("wandb",)})
    assert all(baseline_config(config, name).track == () for name in baselines.BASELINES)
