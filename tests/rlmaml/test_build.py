"""The factory: models, algorithms and samplers from a configuration."""

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import models
from rlmaml.build import (
    build,
    build_policy,
    build_predictor,
    data_per_task,
    data_spec,
    resolve_device,
)
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.models.spec import PredictorSpec
from rlmaml.sampling.fill_to_horizon import FillToHorizon
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv

SMALL = TrainConfig(tasks=3, episodes=2, horizon=2).changed({"policy.hidden": (4,)})
EXAMPLES = SMALL.changed({"data": "examples"})


class Lines:
    """Targets are a multiple of the input."""

    inputs = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    outputs = gymnasium.spaces.Box(-5, 5, (1,), np.float32)

    def sample(self, n, rng, split="train"):
        return rng.uniform(-1, 1, (n, 1))

    def episode(self, tasks, shots, queries, rng):
        x = rng.uniform(-1, 1, (len(tasks), shots + queries, 1)).astype(np.float32)
        y = (x * tasks[:, None]).astype(np.float32)
        return (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:])


def test_episodes_are_played_by_as_many_copies_as_tasks_need():
    experiment = build(SMALL, vectorize(TargetEnv, 6))
    assert isinstance(experiment.sampler, RolloutSampler)
    assert (experiment.sampler.tasks, experiment.sampler.episodes) == (3, 2)
    assert isinstance(experiment.model, models.GaussianMLP)
    assert experiment.predictor_spec is None
    measured = build(SMALL, vectorize(TargetEnv, 10), tasks=5)
    assert (measured.sampler.tasks, measured.sampler.episodes) == (5, 2)
    by_steps = build(SMALL.changed({"batch_by": "steps"}), vectorize(TargetEnv, 6))
    assert isinstance(by_steps.sampler, FillToHorizon)


def test_the_seed_decides_the_network_and_nothing_else_is_drawn():
    before = torch.random.get_rng_state()
    spaces = (gymnasium.spaces.Box(-1, 1, (3,)), gymnasium.spaces.Discrete(2))
    first, again, other = (
        models.parameters(build_policy(SMALL.changed({"seed": seed}), *spaces))
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["logits.0.weight"], other["logits.0.weight"])


def test_examples_say_what_the_network_takes_and_gives():
    experiment = build(EXAMPLES, Lines())
    assert experiment.predictor_spec == PredictorSpec((1,), None, 1, False)
    assert experiment.metric.name == "mse"
    model = build_predictor(EXAMPLES, PredictorSpec((4,), None, 3, True))
    assert isinstance(model, models.CategoricalMLP)


def test_examples_that_do_not_fit_are_refused_at_once():
    family = Lines()
    family.outputs = gymnasium.spaces.Box(-5, 5, (2,), np.float32)
    with pytest.raises(ConfigError, match="do not fit its `inputs`"):
        build(EXAMPLES, family)


def test_data_are_counted():
    assert data_per_task(SMALL) == 2 * 2
    assert data_per_task(SMALL.changed({"inner.steps": 3, "inner.hessian": "separate"})) == 2 * 7
    assert data_per_task(EXAMPLES) == 10 + 10
    assert data_per_task(EXAMPLES.with_algorithm("reptile")) == 5 * 10 + 10
    assert data_spec(EXAMPLES.with_algorithm("pretraining")).steps == 0


@pytest.mark.parametrize("name", ["toaster", "mps", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(ConfigError, match=name):
        resolve_device(name)
