"""What adaptation gives: policies that act and predictors."""

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import models, tree
from rlmaml.adapted import AdaptedPolicy, Predictor, StackedNetworks, as_inputs
from rlmaml.distributions import Gaussian
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.types import InputsWithStatistics

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
SMALL = models.PolicyConfig(hidden=(4,))
OBSERVATIONS = Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = Box(-0.5, 0.5, (2,), np.float32)


def gaussian(**more):
    return AdaptedPolicy(models.GaussianMLP(3, 2, SMALL), OBSERVATIONS, ACTIONS, **more)


def seen(count=5):
    return np.random.default_rng(0).normal(size=(count, 3))


def test_the_likeliest_action_is_the_mean_within_the_action_space():
    policy = gaussian()
    with torch.no_grad():
        policy.module.mean[-1].bias += torch.tensor([10.0, 0.0])
    x = seen()
    actions = policy.act(x, deterministic=True)
    mean = policy.module(torch.from_numpy(x).float()).mean.numpy()
    assert (mean[:, 0] > 0.5).all()
    np.testing.assert_array_equal(actions, mean.clip(-0.5, 0.5))
    assert ACTIONS.contains(policy.act(x[0]))


def test_one_observation_gives_one_action():
    policy, x = gaussian(), seen()
    np.testing.assert_allclose(
        policy.act(x[2], deterministic=True), policy.act(x, deterministic=True)[2], rtol=1e-6
    )
    assert policy.act(x[:1]).shape == (1, 2)
    assert policy.act(x[0].tolist()).shape == (2,)


def test_actions_are_drawn_from_the_distribution_and_anew_each_time():
    policy = gaussian()
    policy.module.log_std.fill_(-3.0)  # none is clipped
    with torch.no_grad():
        policy.module.mean[-1].weight *= 0.0
    drawn = policy.act(np.zeros((4000, 3)))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=4 * np.exp(-3) / np.sqrt(4000))
    np.testing.assert_allclose(drawn.std(0), np.exp(-3), rtol=0.05)
    assert not np.array_equal(policy.act(seen()), policy.act(seen()))


def test_a_seed_decides_what_is_drawn():
    torch.manual_seed(0)
    module = models.GaussianMLP(3, 2, SMALL)
    policies = [AdaptedPolicy(module, OBSERVATIONS, ACTIONS, seed=seed) for seed in (0, 0, 1)]
    first, again, other = ([policy.act(seen()) for _ in range(2)] for policy in policies)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_observations_are_standardized_where_the_run_did():
    normalizer = Normalizer((3,))
    normalizer.observe(torch.tensor([[1.0, 2.0, 3.0], [3.0, 6.0, 11.0]]), torch.ones(2))
    normalizer.commit()
    policy = gaussian(normalizer=normalizer)
    plain = AdaptedPolicy(policy.module, OBSERVATIONS, ACTIONS)
    standard = policy.distribution(np.array([[1.0, 2.0, 3.0]])).mean
    torch.testing.assert_close(standard, plain.distribution(-np.ones((1, 3))).mean)


def test_discrete_spaces_count_from_their_start():
    spaces = Discrete(3, start=7), Discrete(2, start=-1)
    policy = AdaptedPolicy(models.CategoricalMLP(3, 2, SMALL), *spaces)
    actions = policy.act(np.array([7, 9, 8]), deterministic=True)
    logits = policy.module(torch.eye(3)[[0, 2, 1]]).logits
    np.testing.assert_array_equal(actions, logits.argmax(-1) - 1)
    action = policy.act(8)
    assert np.ndim(action) == 0
    assert spaces[1].contains(action)


@pytest.mark.parametrize("shape", [(4,), (), (2, 2), (2, 2, 3)])
def test_observations_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"observes \(3,\) or \[M, 3\], got an observation"):
        gaussian().act(np.zeros(shape))


def test_predict_hands_the_state_back():
    policy = gaussian()
    state = object()
    action, returned = policy.predict(seen(), state, np.ones(5, bool), deterministic=True)
    assert returned is state
    np.testing.assert_array_equal(action, policy.act(seen(), deterministic=True))


def test_parameters_are_the_modules_and_need_no_gradient():
    policy = gaussian()
    assert list(policy.params) == list(dict(policy.module.named_parameters()))
    assert not any(leaf.requires_grad for leaf in tree.leaves(policy.params))
    assert not policy.distribution(seen()).mean.requires_grad


def test_a_predictor_gives_means_and_likeliest_classes():
    regression = Predictor(models.RegressionMLP(3, 2, SMALL))
    classes = Predictor(models.CategoricalMLP(3, 4, SMALL))
    x = seen()
    inputs = torch.from_numpy(x).float()
    np.testing.assert_array_equal(regression(x), regression.module(inputs).mean)
    np.testing.assert_array_equal(classes.predict(x), classes.module(inputs).logits.argmax(-1))


def test_a_predictors_batch_norm_sees_the_reference():
    class Centered(torch.nn.Module):
        def forward(self, inputs):
            assert isinstance(inputs, InputsWithStatistics)
            mean = inputs.inputs - inputs.reference.mean(0)
            return Gaussian(mean, torch.zeros_like(mean))

    predictor = Predictor(Centered(), reference=torch.tensor([[1.0], [3.0]]))
    np.testing.assert_array_equal(predictor([[5.0]]), [[3.0]])


def test_stacked_networks_hand_the_policy_what_it_adapted():
    def policy(params, inputs):
        mean = inputs * params["first.weight"].sum() + params["bias"]
        return Gaussian(mean, torch.zeros_like(mean))

    adapted = {"first.weight": torch.tensor([1.0, 2.0]), "bias": torch.tensor(10.0)}
    module = StackedNetworks(policy, adapted)
    assert module(torch.tensor([2.0])).mean.tolist() == [16.0]
    values = Predictor(module).module.state_dict().values()
    assert sorted(value.numel() for value in values) == [1, 2]
    assert not any(each.requires_grad for each in module.parameters())


def test_inputs_are_floats_or_known_token_ids():
    assert as_inputs(np.array([[1, 2]]), None).dtype == torch.float32
    ids = as_inputs(np.array([[0, 9]], np.uint8), 10)
    assert (ids.dtype, ids.tolist()) == (torch.int64, [[0, 9]])
    assert as_inputs(np.zeros((0, 4), int), 10).shape == (0, 4)
    assert as_inputs(np.arange(6).reshape(2, 3).T, 10).tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("ids", [[[0, 10]], [[-1, 0]], [[0.0, 1.0]], [[True, False]]])
def test_what_are_no_token_ids_is_refused(ids):
    with pytest.raises(ValueError, match=r"integers from 0 to 9; got .* encode"):
        as_inputs(np.array(ids), 10)
