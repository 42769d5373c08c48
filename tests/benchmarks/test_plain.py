"""The plain implementation that speed is compared with computes what the engine does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import plain
from examples import maml_trpo
from rlmaml import tree
from rlmaml.advantages import estimate_advantages
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training.train import meta_batch

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _threads():
    """Building an experiment sets the number of threads of the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def small(preset, steps=1, surrogate="lvc", **changed):
    config = replace(PRESETS[preset][1], tasks=3, episodes=4, horizon=20, threads=1)
    own = plain.NEAREST | {"inner.steps": steps, "inner.surrogate": surrogate}
    return config.changed(own | changed)


def begun(config):
    experiment = build_experiment(config)
    batch = meta_batch(experiment, config, experiment.algorithm.init(experiment.params).meta, 0)
    experiment.close()
    return experiment, batch


@pytest.mark.parametrize("curvature", ["redone", "kept"])
@pytest.mark.parametrize("surrogate", ["lvc", "log-likelihood"])
@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("preset", ["navigation", "half-cheetah-vel"])
def test_update_is_that_of_the_engine(preset, steps, surrogate, curvature):
    # Two-dimensional observations make the curvature nearly singular, and conjugate gradient then
    # magnifies rounding some hundredfold with each iteration after the first few.
    options = {"trust_region.damping": 0.1, "trust_region.cg_iterations": 4}
    config = small(preset, steps, surrogate, **options)
    assert plain.same_update(config, curvature=curvature) < 1e-8


def test_update_is_that_of_the_engine_with_two_steps():
    assert plain.same_update(small("half-cheetah-vel", 2)) < 1e-8


def test_update_is_that_of_the_engine_where_it_backtracks(monkeypatch):
    tried = []
    measure = maml_trpo.measure
    monkeypatch.setattr(maml_trpo, "measure", lambda *a: tried.append(1) or measure(*a))
    assert plain.same_update(small("half-cheetah-vel", **{"trust_region.max_kl": 0.5})) < 1e-8
    assert len(tried) > 1


@pytest.mark.parametrize("preset", ["half-cheetah-vel", "ant-vel"])
def test_both_ways_of_sampling_give_the_same_episodes_to_the_bit(preset):
    config = small(preset, horizon=60 if preset == "ant-vel" else 20)
    params = build_experiment(config).params
    params["log_std"] += 1.7  # so that ants fall
    found = {}
    for way in ("sync", "processes"):
        runner = plain.Plain(config, way, 2)
        found[way] = runner.sample([params] * 3, iteration=1, k=0)
        runner.close()
    for one, other in zip(*found.values(), strict=True):
        for name in maml_trpo.Episodes._fields:
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    ends = np.array([data.mask.sum(1).numpy() for data in found["sync"]])
    if preset == "ant-vel":
        assert (ends < 60).any()
        assert (ends > 1).all()
    else:
        assert (ends == 20).all()


@pytest.mark.parametrize(
    "preset", ["navigation", "half-cheetah-vel", "half-cheetah-dir", "ant-vel"]
)
def test_episodes_are_those_of_the_engine(preset):
    """The same draws, so the same episodes, but for what contacts make of rounding."""
    # Without a baseline, whose fit to so few steps would leave hardly more than rounding.
    config = small(preset, horizon=5, **{"inner_advantages.baseline": "none"})
    experiment, batch = begun(config)
    runner = plain.Plain(config, "sync")
    support, query, _ = runner.collect(experiment.params, 0)
    runner.close()
    theirs = plain.of_episodes(batch.support[0]) + plain.of_episodes(batch.query)
    ours = [*(data for (data,) in support), *query]
    for one, other in zip(theirs, ours, strict=True):
        for name in ("observations", "actions", "log_probs", "mask", "rewards"):
            values = getattr(one, name)
            if name in ("observations", "actions"):  # the engine's are not 0 on padding
                values = values * one.mask.unsqueeze(-1)
            torch.testing.assert_close(getattr(other, name), values, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("how", ["inner_advantages", "outer_advantages"])
@pytest.mark.parametrize(
    "changed", [{}, {"normalize": False}, {"baseline": "none"}], ids=["usual", "raw", "no-baseline"]
)
def test_advantages_are_those_of_the_engine(changed, how):
    config = small("ant-dir", horizon=60, **{"env.kwargs": {}})
    config = config.changed({f"{how}.{name}": value for name, value in changed.items()})
    experiment = build_experiment(config)
    experiment.params["log_std"] += 1.0  # so that ants fall
    batch = meta_batch(experiment, config, {"params": experiment.params}, 0)
    experiment.close()
    episodes = tree.map(lambda leaf: leaf[0].double(), batch.query)
    assert episodes.mask.sum() < episodes.mask.numel()
    expected = estimate_advantages(episodes, getattr(config, how)).advantages
    (data,) = plain.of_episodes(tree.map(lambda leaf: leaf[None], episodes))
    found = maml_trpo.with_advantages(data, plain.estimate_of(getattr(config, how))).advantages
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)


def test_iteration_steps_and_says_what_took_its_time():
    config = small("half-cheetah-vel")
    experiment, batch = begun(config)
    whole = config.changed({"trust_region.fisher_fraction": 1.0})
    method = build_experiment(whole).algorithm
    expected = method.update(method.init(experiment.params), batch)[0].meta["params"]
    runner = plain.Plain(config, "processes", 2)
    new, seconds = runner.iteration(experiment.params, 0)
    runner.close()
    assert set(seconds) == {"sampling", "advantages", "adaptation", "update"}
    assert all(value > 0 for value in seconds.values())
    for name, start in experiment.params.items():
        largest = (expected[name] - start).abs().max()
        assert (new[name] - expected[name]).abs().max() < 0.05 * largest, name


def test_part_of_the_episodes_for_curvature_takes_a_step_within_the_bound():
    config = small("half-cheetah-vel")
    experiment, _ = begun(config)
    runner = plain.Plain(config, "sync")
    support, query, _ = runner.collect(experiment.params, 0)
    runner.close()
    _, metrics = plain.update(experiment.params, support, query, config, fraction=0.5)
    assert metrics["outcome"] == "accepted"
    assert 0 < metrics["kl"] <= config.trust_region.max_kl


@pytest.mark.parametrize(
    ("option", "value"), [("inner.surrogate", "dice"), ("normalize_observations", True)]
)
def test_what_is_not_there_is_refused(option, value):
    config = small("navigation").changed({option: value})
    with pytest.raises(ValueError, match=option):
        plain.Plain(config, "sync")
