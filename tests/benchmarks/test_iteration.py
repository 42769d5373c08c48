"""The benchmark of a meta-iteration: its parts and its floor."""

from dataclasses import replace

import pytest
import torch

from benchmarks import iteration
from benchmarks.physics import Physics
from rlmaml.rng import Phase
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training.train import meta_batch

pytestmark = pytest.mark.slow


def small(**changed):
    config = replace(PRESETS["half-cheetah-vel"][1], tasks=2, episodes=3, horizon=5, threads=1)
    return replace(config, **changed)


def test_benchmark_accounts_for_all_of_an_iteration():
    threads = torch.get_num_threads()
    row = iteration.measure(small(), iterations=2)
    torch.set_num_threads(threads)
    parts = sum(row[name] for name in (*iteration.STAGES, "other"))
    assert parts == pytest.approx(row["total"], rel=0.5)  # sums of medians
    assert all(row[name] > 0 for name in iteration.STAGES)
    assert row["env_steps"] == 2 * 2 * 3 * 5
    assert 0 < row["floor"] < row["total"]
    assert row["iterations"] == 2


@pytest.mark.parametrize("changed", [{"inner.hessian": "separate"}, {"data": "examples"}])
def test_benchmark_refuses_what_has_no_such_floor(changed):
    with pytest.raises(SystemExit, match="The floor is that of episodes"):
        iteration.measure(small().changed(changed), iterations=1)


def test_bare_physics_passes_through_the_same_states():
    config = small(seed=3)
    experiment = build_experiment(config)
    physics = Physics(experiment.sampler.env)
    state = experiment.algorithm.init(experiment.params)
    batch = meta_batch(experiment, config, state.meta, 4)
    key = (3, 4, Phase.ROLLOUT)
    assert physics.seconds(batch.query, key, 1) > 0
    assert physics.ended_like(experiment.sampler.env)
    physics.seconds(batch.query, key, 0)  # other first states
    assert not physics.ended_like(experiment.sampler.env)
    physics.close()
    experiment.close()
