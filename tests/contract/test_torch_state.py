"""What a program has set in torch changes nothing: default type and device, modes of gradients."""

import contextlib

import gymnasium
import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import algorithms, models, tree
from rlmaml.adapted import AdaptedPolicy
from rlmaml.errors import ConfigError
from runners.export.ppo import to_sb3
from runners.export.torch_program import program
from tests.helpers import networks
from tests.helpers.runs import evaluated, learned, tiny

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def default_type(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def gradients_off():
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


@contextlib.contextmanager
def all_of_them():
    with default_type(torch.float64), default_device("meta"), gradients_off():
        yield


STATES = {
    "float64": lambda: default_type(torch.float64),
    "bfloat16": lambda: default_type(torch.bfloat16),
    "device": lambda: default_device("meta"),  # in place of cuda: what is made there has no values
    "gradients off": gradients_off,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def regression(folder):
    """What a run on examples comes to: parameters, evaluation, and predictions after adapting."""
    run_dir = tiny(folder, "--algorithm", "maml", "--policy.activation", "tanh", preset="sinusoid")
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    predictor = rlmaml.load(folder).adapt(x, np.sin(x))
    return [*tree.leaves(learned(run_dir).meta)], evaluated(run_dir, 2)["mean"], predictor(x)


def episodes(folder):
    """The same of a run on episodes, with actions."""
    run_dir = tiny(folder, "--iterations", "2", preset="navigation")
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0")
    policy = rlmaml.load(folder).adapt(env, episodes=2)
    found = [*tree.leaves(learned(run_dir).meta), *tree.leaves(policy.params)]
    return found, evaluated(run_dir, 2, episodes=2)["mean"], policy.act(np.zeros((3, 2)))


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert one[1] == other[1]
    assert one[2].dtype == other[2].dtype
    assert np.array_equal(one[2], other[2])


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return regression(tmp_path_factory.mktemp("usual") / "run")


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_run_on_examples_is_the_same(tmp_path, usual, state):
    with state():
        found = regression(tmp_path / "run")
    assert_same(usual, found)


def test_a_run_on_episodes_is_the_same(tmp_path):
    expected = episodes(tmp_path / "usual")
    with torch.inference_mode(), all_of_them():
        found = episodes(tmp_path / "other")
    assert_same(expected, found)


@pytest.mark.parametrize("name", [n for n in algorithms.TABLE if n not in ("e-maml", "promp")])
def test_every_algorithm_is_the_same(name):
    def once():
        torch.manual_seed(0)
        module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(5,), activation="tanh"))
        problem = networks.OfExamples(module, kind=algorithms.get_algorithm(name))
        problem.update()
        problem.update()
        return tree.leaves(problem.state.meta)

    expected = once()
    for state in (all_of_them, torch.inference_mode):
        with state():
            found = once()
        assert all(map(torch.equal, expected, found))


@pytest.mark.parametrize("state", [*STATES.values(), all_of_them], ids=[*STATES, "all"])
def test_a_network_is_tried_the_same(state):
    dropout, recurrent = (
        networks.two_layers(torch.nn.Dropout(0.5)),
        networks.recurrent(torch.nn.GRU),
    )
    with state():
        with pytest.raises(ConfigError, match="dropout at work"):
            networks.OfExamples(dropout).update()
        networks.OfExamples(recurrent).update()


MODELS = {
    "Gaussian": lambda: models.GaussianMLP(3, 2),
    "categorical": lambda: models.CategoricalMLP(3, 2),
    "images": lambda: models.ConvClassifier((1, 8, 8), 2, models.ConvConfig(blocks=2, filters=2)),
    "bag": lambda: models.BagOfEmbeddings(9, 2),
    "transformer": lambda: models.TextTransformer(9, 4, 2),
    "perceptron": lambda: models.mlp(3, 2, models.PolicyConfig()),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_network_begins_with_the_same_weights(make):
    torch.manual_seed(0)
    expected = make().state_dict()
    with all_of_them():
        torch.manual_seed(0)
        found = make().state_dict()
        assert torch.empty(()).is_meta  # the program's own setting is back
        assert torch.empty((), device="cpu").dtype == torch.float64
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_policy_is_exported_the_same():
    torch.manual_seed(0)
    module = models.GaussianMLP(2, 2, models.PolicyConfig(hidden=(4,)))
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0")
    policy = AdaptedPolicy(module, env.observation_space, env.action_space)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    actions = policy.act(x, deterministic=True)
    with all_of_them():
        exported, model = program(policy), to_sb3(policy, env)
    found = exported.module()(torch.from_numpy(x))["action"]
    np.testing.assert_allclose(found.detach().numpy(), actions, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, deterministic=True)[0], actions, atol=1e-6)
