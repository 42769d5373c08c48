"""What people hand to other processes: adapted policies and predictors, networks, algorithms."""

import copy
import multiprocessing
import pickle

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import algorithms, losses, models, tree
from rlmaml.adapted import AdaptedPolicy, Predictor, StackedNetworks
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.outer.optimizer import Optimizer
from rlmaml.sampling.normalizer import Normalizer
from tests.helpers import networks

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
SMALL = models.PolicyConfig(hidden=(4,))
WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}


def normalizer():
    made = Normalizer((3,))
    made.observe(torch.tensor([[1.0, 2.0, 3.0], [3.0, 6.0, 11.0]]), torch.ones(2))
    made.commit()
    return made


def particles(data):
    """Adapted parameters of a method whose policy is of several networks."""
    kind = algorithms.get_algorithm("bayesian-maml")
    if data == "examples":
        module, how = models.RegressionMLP(3, 2, SMALL), {"inner_loss": losses.mse}
        how["outer_loss"] = losses.mse
    else:
        module, how = models.GaussianMLP(3, 2, SMALL), {}
    method = kind(models.functional(module), InnerConfig(), Optimizer("SGD"), **how)
    params = method.init_meta(models.parameters(module))["params"]
    return StackedNetworks(method.policy, params)


REALS, ACTIONS = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))
POLICIES = {
    "Gaussian": lambda: AdaptedPolicy(models.GaussianMLP(3, 2, SMALL), REALS, ACTIONS),
    "normalized": lambda: AdaptedPolicy(
        models.GaussianMLP(3, 2, SMALL), REALS, ACTIONS, normalizer(), seed=3
    ),
    "discrete": lambda: AdaptedPolicy(
        models.CategoricalMLP(3, 2, SMALL), Discrete(3, start=1), Discrete(2, start=-1)
    ),
    "particles": lambda: AdaptedPolicy(particles("episodes"), REALS, ACTIONS),
}


def seen(policy, count=6):
    space = policy.observation_space
    if isinstance(space, Discrete):
        return np.arange(count) % 3 + 1
    return np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_a_policy_acts_the_same_elsewhere(make, way):
    policy = make()
    x = seen(policy)
    policy.act(x)  # its generator has moved on
    other = way(policy)
    assert np.array_equal(policy.act(x), other.act(x))
    assert np.array_equal(policy.act(x), other.act(x))
    assert np.array_equal(policy.predict(x, deterministic=True)[0], other.act(x, True))
    assert all(map(torch.equal, tree.leaves(policy.params), tree.leaves(other.params)))
    assert list(policy.params) == list(other.params)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_predictor_predicts_the_same_elsewhere(way):
    x = np.random.default_rng(1).normal(size=(6, 3))
    for module in (models.RegressionMLP(3, 2, SMALL), particles("examples")):
        predictor = Predictor(module)
        assert np.array_equal(predictor(x), way(predictor)(x))
    images = np.ones((2, 1, 8, 8), np.float32) * [[[[1.0]]], [[[2.0]]]]
    config = models.ConvConfig(blocks=2, filters=2)
    reference = torch.rand(3, 1, 8, 8)
    seeing = Predictor(models.ConvClassifier((1, 8, 8), 2, config), reference=reference)
    found = way(seeing).distribution(images).logits
    assert torch.equal(seeing.distribution(images).logits, found)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_module_as_a_function_goes_along(way):
    module = networks.partly_frozen("body.0")
    policy, x = models.functional(module), torch.ones(2, 1)
    params = models.parameters(module)
    first = policy(params, x).mean
    other = way(policy)
    assert torch.equal(first, other(params, x).mean)
    assert set(models.parameters(other.module)) == set(params)


@pytest.mark.parametrize("name", ["maml", "cavia", "bayesian-maml", "hf-maml"])
def test_an_algorithm_is_made_anew(name):
    module = models.RegressionMLP(1, 1, SMALL)
    problem = networks.OfExamples(module, kind=algorithms.get_algorithm(name))
    other = pickle.loads(pickle.dumps(problem.method))
    found = [
        method.update(method.init(models.parameters(module)), problem.batch)[0].meta
        for method in (problem.method, other)
    ]
    assert all(map(torch.equal, *map(tree.leaves, found)))


def test_frozen_parameters_stay_apart_from_adapted_ones():
    module = models.GaussianMLP(3, 2, SMALL)
    module.log_std.requires_grad_(False)
    for policy in (AdaptedPolicy(module, REALS, ACTIONS), AdaptedPolicy(module, REALS, ACTIONS)):
        other = WAYS["pickle"](policy)
        assert list(other.params) == list(policy.params)
        assert not any(value.requires_grad for value in other.module.parameters())


def acted(policy):
    return policy.act(seen(policy))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_policy_acts_in_a_process_of_its_own(method):
    policy = POLICIES["normalized"]()
    with multiprocessing.get_context(method).Pool(1) as pool:
        there = pool.apply(acted, (policy,))
    assert np.array_equal(acted(policy), there)
