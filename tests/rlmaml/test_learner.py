"""`load` and `adapt`, on runs that lie in tests/data; that this is what evaluation does is tested
beside the evaluation."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import losses, models
from rlmaml.algorithms.maml import MAML
from rlmaml.checkpoint import CheckpointError
from rlmaml.learner import _network

RUNS = Path(__file__).parents[1] / "data" / "runs"
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(-1, 1)


class Plane(gymnasium.Env):
    """A point that is paid for being far to the right."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = np.zeros(2)
        return self.position.copy(), {}

    def step(self, action):
        self.position = self.position + action
        return self.position.copy(), float(self.position[0]), False, False, {}


def test_an_adapted_policy_acts_within_the_action_space_and_repeats_itself():
    learner = rlmaml.load(RUNS / "episodes")
    assert not learner.supervised
    env = gymnasium.wrappers.TimeLimit(Plane(), 5)
    first, again = (learner.adapt(env, episodes=4, steps=2, seed=3) for _ in range(2))
    assert all(torch.equal(first.params[name], again.params[name]) for name in first.params)
    action = first.act(np.zeros(2))
    assert env.action_space.contains(action.astype(np.float32))
    assert len(first.episodes) == 2
    assert first.episodes[0].rewards.shape == (4, 5)


def test_no_steps_give_what_was_meta_learned():
    learner = rlmaml.load(RUNS / "episodes")
    policy = learner.adapt(gymnasium.wrappers.TimeLimit(Plane(), 5), steps=0, episodes=1)
    for name, leaf in policy.params.items():
        assert torch.equal(leaf, learner.meta["params"][name])


def test_statistics_of_observations_come_along():
    learner = rlmaml.load(RUNS / "normalized")
    policy = learner.adapt(gymnasium.wrappers.TimeLimit(Plane(), 5), episodes=2)
    assert policy.normalizer is not None
    assert policy.normalizer.count > 0


def test_a_regression_of_before_is_known_by_its_parameters():
    learner = rlmaml.load(RUNS / "examples")
    predictor = learner.adapt(X, np.sin(X))
    before = learner.adapt(X, np.sin(X), steps=0)
    assert predictor(X).shape == X.shape
    errors = [np.square(each(X) - np.sin(X)).mean() for each in (before, predictor)]
    assert errors[1] < errors[0]


def test_a_classification_of_before_takes_class_numbers():
    learner = rlmaml.load(RUNS / "classes")
    x = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)
    predictor = learner.adapt(x, np.arange(6) % 2)
    assert set(predictor(x)) <= {0, 1}
    for wrong in (np.arange(6), np.zeros(6), -np.ones(6, int)):
        with pytest.raises(ValueError, match="integers from 0 to 1"):
            learner.adapt(x, wrong)


def test_what_does_not_fit_is_refused():
    learner = rlmaml.load(RUNS / "step-sizes")
    env = gymnasium.wrappers.TimeLimit(Plane(), 5)
    with pytest.raises(ValueError, match="leave it out"):
        learner.adapt(env, step_size=0.5)
    with pytest.raises(ValueError, match="adapts to an environment"):
        learner.adapt(X, X)
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        learner.adapt(env, episodes=0)
    with pytest.raises(ValueError, match="trained on other spaces"):
        rlmaml.load(RUNS / "examples").adapt(np.zeros((3, 2), np.float32), X[:3])
    with pytest.raises(CheckpointError, match="no checkpoint"):
        rlmaml.load(RUNS / "nothing")


def test_a_network_with_adapted_parameters_keeps_its_frozen_ones():
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(3,)))
    module.mean[0].requires_grad_(False)
    before = module.mean[0].weight.clone()
    method = MAML(models.functional(module), inner_loss=losses.mse, outer_loss=losses.mse)
    adapted = {name: value + 1 for name, value in models.parameters(module).items()}
    network = _network(method, adapted, module)
    assert torch.equal(network.mean[2].bias, adapted["mean.2.bias"])
    assert torch.equal(network.mean[0].weight, before)
