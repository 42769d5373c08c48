"""How policies act in a rollout: by matrix products alone, if they are perceptrons of ours."""

import pytest
import torch
from torch import nn

from rlmaml import models, tree
from rlmaml.distributions import Gaussian
from rlmaml.objective import over_tasks
from rlmaml.sampling.stacked_mlp import actor

N, B, X, A = 4, 3, 5, 2


def parameters(module):
    """N different ones, float64."""
    params = {name: value.double() for name, value in models.parameters(module).items()}
    return tree.map(
        lambda p: torch.stack([p + 0.3 * torch.randn_like(p) for _ in range(N)]), params
    )


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6, 8)])
@pytest.mark.parametrize("activation", models.ACTIVATIONS)
@pytest.mark.parametrize(
    "kind",
    [models.GaussianMLP, models.CategoricalMLP, models.MultiCategoricalMLP, models.BernoulliMLP],
)
def test_perceptrons_act_as_they_are_called(kind, activation, hidden):
    outputs = (3, 2) if kind is models.MultiCategoricalMLP else A
    module = kind(
        X, outputs, models.PolicyConfig(hidden=hidden, activation=activation, min_log_std=0.1)
    )
    policy, params = models.functional(module), parameters(module)
    act = actor(policy, params)
    for _ in range(2):
        observations = torch.randn(N, B, X, dtype=torch.float64)
        found, expected = act(observations), over_tasks(policy)(params, observations)
        assert type(found) is type(expected)
        for field, value in zip(found, expected, strict=True):
            torch.testing.assert_close(field, value, atol=1e-12, rtol=1e-12)


def test_frozen_layers_act_with_those_that_are_stacked():
    module = models.GaussianMLP(X, A, models.PolicyConfig(hidden=(6,))).double()
    module.mean[0].requires_grad_(False)
    policy, params = models.functional(module), parameters(module)
    observations = torch.randn(N, B, X, dtype=torch.float64)
    found, expected = actor(policy, params)(observations), over_tasks(policy)(params, observations)
    assert torch.equal(found.mean, expected.mean)


def test_one_set_of_parameters_for_all_tasks():
    module = models.GaussianMLP(X, A)
    params = tree.repeat(models.parameters(module), N)
    observations = torch.randn(N, B, X)
    found = actor(models.functional(module), params)(observations)
    torch.testing.assert_close(found.mean, module(observations).mean, atol=1e-6, rtol=1e-5)


def test_a_step_leaves_what_the_step_before_gave_and_its_observations():
    module = models.GaussianMLP(X, A, models.PolicyConfig(hidden=(6, 6)))
    act = actor(models.functional(module), parameters(module))
    observations = torch.randn(N, B, X, dtype=torch.float64)
    first, seen = act(observations), observations.clone()
    kept = tree.map(torch.clone, first)
    act(torch.randn(N, B, X, dtype=torch.float64))
    assert torch.equal(first.mean, kept.mean)
    assert torch.equal(observations, seen)


class Doubled(models.GaussianMLP):
    """A forward of its own, over the same parameters."""

    def forward(self, observations):
        return Gaussian(2 * super().forward(observations).mean, self.log_std.expand(B, A))


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(A, X))

    def forward(self, observations):
        mean = observations @ self.weight.T
        return Gaussian(mean, torch.zeros_like(mean))


def altered(change):
    module = models.GaussianMLP(X, A, models.PolicyConfig(hidden=(6,), activation="elu"))
    change(module)
    return module


ALTERED = {
    "norm": lambda m: m.mean.insert(2, nn.LayerNorm(6)),
    "output": lambda m: m.mean.append(nn.Tanh()),
    "alpha": lambda m: setattr(m.mean[1], "alpha", 2.0),
    "hook": lambda m: m.mean[0].register_forward_hook(lambda module, inputs, out: out + 1),
    "other activation": lambda m: m.mean.__setitem__(1, nn.GELU()),
    "no bias": lambda m: m.mean[2].register_parameter("bias", None),
}
OTHERS = {"subclass": Doubled(X, A), "other": Other()}
OTHERS |= {name: altered(change) for name, change in ALTERED.items()}


@pytest.mark.parametrize("module", OTHERS.values(), ids=OTHERS)
def test_any_other_policy_is_called(module):
    policy, params = models.functional(module), parameters(module)
    observations = torch.randn(N, B, X, dtype=torch.float64)
    found, expected = actor(policy, params)(observations), over_tasks(policy)(params, observations)
    assert torch.equal(found.mean, expected.mean)
