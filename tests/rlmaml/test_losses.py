"""Losses: surrogates of the policy gradient, and those of labeled examples."""

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.objective import evaluate, reference
from rlmaml.types import Episodes
from tests.helpers.problems import SUPERVISED, end_loss, one, random_batch, supervised_problem
from tests.helpers.tabular import magic_box


def test_padding_does_not_change_a_loss():
    objective, meta, batch = random_batch(1, tasks=1)
    episodes = one(batch.query, 0)
    junk = tree.map(lambda leaf: leaf, episodes)
    padded = junk._replace(
        **{
            name: torch.cat([getattr(junk, name), torch.ones_like(getattr(junk, name))], 1)
            for name in ["observations", "actions", "rewards", "log_probs", "values", "advantages"]
        },
        mask=torch.cat([junk.mask, torch.zeros_like(junk.mask)], 1),
    )
    for make in (losses.log_likelihood, losses.likelihood_ratio):
        loss = make(objective.policy)
        torch.testing.assert_close(loss(meta["params"], padded), loss(meta["params"], episodes))


def test_likelihood_ratio_is_one_at_collection():
    objective, meta, batch = random_batch(1)
    losses_found, kls = evaluate(objective, meta, batch, reference(objective, meta, batch))
    query = batch.query
    expected = -(query.advantages * query.mask).sum((1, 2)) / query.mask.sum((1, 2))
    torch.testing.assert_close(losses_found, expected)
    assert kls.abs().max() < 1e-14


def test_both_surrogates_have_the_policy_gradient_at_the_sampling_parameters():
    objective, meta, batch = random_batch(0)
    episodes = one(batch.query, 0)
    policy = objective.policy
    gradients = [
        tree.ravel(torch.func.grad(make(policy))(meta["params"], episodes))[0]
        for make in (losses.log_likelihood, losses.likelihood_ratio)
    ]
    torch.testing.assert_close(*gradients)


def flat(meta):
    return tree.ravel(meta)[0]


def test_lvc_is_the_likelihood_ratio_where_it_was_sampled():
    """Gradient and Hessian of mean ☐(log π) Â, Rothfuss et al.'s form, with ragged episodes."""
    objective, meta, batch = random_batch(0, tasks=1)
    data, policy = one(batch.query, 0), objective.policy
    theta, unravel = tree.ravel(meta["params"])

    def boxed(v):
        logs = policy(unravel(v), data.observations).log_prob(data.actions)
        weighed = magic_box(logs) * data.advantages * data.mask
        return -weighed.sum() / data.mask.sum()

    def ratio(v):
        return losses.likelihood_ratio(policy)(unravel(v), data)

    for derivative in (torch.func.grad, torch.func.hessian):
        torch.testing.assert_close(derivative(ratio)(theta), derivative(boxed)(theta))


@pytest.mark.parametrize("name", losses.SURROGATES)
@pytest.mark.parametrize("reduction", ["steps", "episodes"])
def test_surrogates_have_the_policy_gradient_and_ignore_padding(name, reduction):
    objective, meta, batch = random_batch(0, tasks=1)
    data, policy = one(batch.query, 0), objective.policy
    loss = losses.SURROGATES[name](policy, reduction=reduction)
    found = torch.func.grad(loss)(meta["params"], data)
    expected = torch.func.grad(losses.log_likelihood(policy))(meta["params"], data)
    scale = data.mask.sum(-1).mean() if reduction == "episodes" else 1.0
    torch.testing.assert_close(found, tree.map(lambda g: scale * g, expected))
    broken = torch.where(data.mask > 0, 0.0, 1e30)
    spoilt = data._replace(actions=data.actions + broken.unsqueeze(-1))
    hessians = [
        torch.func.hessian(lambda p, d=d: loss(p, d))(meta["params"]) for d in (data, spoilt)
    ]
    torch.testing.assert_close(hessians[1], hessians[0])


def test_clipping():
    """Ratios of 1 - .5, 1, 1 + .5 at advantages ±1 and ε = .3, step by step by hand."""
    module = models.CategoricalMLP(1, 2, models.PolicyConfig(hidden=())).double()
    policy, params = models.functional(module), models.parameters(module)
    _, _, batch = random_batch(0, tasks=1)
    ratios = torch.tensor([[0.5, 1.0, 1.5, 0.5, 1.0, 1.5]], dtype=torch.float64)
    ones = torch.ones_like(ratios)
    observations, actions = ones.unsqueeze(-1), torch.zeros(1, 6, dtype=torch.int64)
    now = policy(params, observations).log_prob(actions)
    data = one(batch.query, 0)._replace(
        observations=observations,
        actions=actions,
        log_probs=now - ratios.log(),
        advantages=torch.tensor([[1.0, 1, 1, -1, -1, -1]], dtype=torch.float64),
        mask=ones,
    )
    loss = losses.clipped_ratio(policy, 0.3)
    expected = -(0.5 + 1.0 + 1.3 - 0.7 - 1.0 - 1.5) / 6
    assert loss(params, data).item() == pytest.approx(expected, abs=1e-12)
    # What is clipped away pulls no more.
    steps = [
        torch.func.grad(loss)(params, data._replace(mask=row)) for row in torch.eye(6).split(1)
    ]
    still = [float(flat(step).abs().max()) == 0 for step in steps]
    assert still == [False, False, True, True, False, False]


def as_episodes(examples, advantage=1.0):
    """Examples of one task as episodes of one step whose actions are the targets."""
    count = len(examples.targets)
    zeros = torch.zeros(count, 1, dtype=torch.float64)
    return Episodes(
        observations=examples.inputs[:, None],
        actions=examples.targets[:, None],
        rewards=zeros,
        log_probs=zeros,
        values=zeros,
        advantages=zeros + advantage,
        mask=zeros + 1,
        terminated=zeros[:, 0] + 1,
        final_observations=examples.inputs,
        diagnostics={"diverged": zeros},
    )


@pytest.mark.parametrize("kind", SUPERVISED)
def test_supervised_losses_are_policy_gradient_losses(kind):
    """Half the MSE is a unit Gaussian's with a constant more, cross-entropy a Categorical's."""
    objective, meta, batch = supervised_problem(kind)
    data = one(batch.query, 0)
    surrogate = losses.log_likelihood(objective.policy)
    scale, constant = (0.5, np.log(2 * np.pi)) if kind == "regression" else (1.0, 0.0)
    episodes = as_episodes(data)  # two outputs: 2 · ½ log 2π
    expected = scale * end_loss(objective)(meta["params"], data) + constant
    assert torch.isclose(surrogate(meta["params"], episodes), expected, rtol=1e-12)
    ours, theirs = (
        tree.ravel(torch.func.grad(loss)(meta["params"], x))[0]
        for loss, x in ((end_loss(objective), data), (surrogate, episodes))
    )
    assert torch.allclose(scale * ours, theirs, rtol=1e-12)
