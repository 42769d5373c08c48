"""Surrogates off the sampling parameters, E-MAML's credit, and what does not go together."""

import re

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms import get_algorithm
from rlmaml.algorithms.base import InnerConfig
from rlmaml.algorithms.e_maml import EMAML
from rlmaml.algorithms.fo_maml import FOMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.promp import ProMP
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv, one, random_batch
from tests.helpers.tabular import magic_box


def flat(meta):
    return tree.ravel(meta)[0]


# Surrogates.


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


# E-MAML.


def test_the_score_term_adds_the_credits_times_the_scores():
    """Task by task in a loop, with ragged episodes, against the meta-gradient without it."""
    objective, meta, batch = random_batch(2)
    settings = InnerConfig(steps=2, step_size=0.4, surrogate="log-likelihood")
    algorithm = EMAML(objective.policy, settings)
    batch = algorithm.prepare(batch)
    rewards, mask = batch.query.rewards, batch.query.mask
    returns = rewards.sum((1, 2)) / mask.sum((1, 2))
    expected = [returns[i] - returns[torch.arange(5) != i].mean() for i in range(5)]
    torch.testing.assert_close(batch.credit, torch.stack(expected))
    theta, unravel = tree.ravel(meta)
    total = meta_gradient(objective, meta, batch)[1]
    for i, credit in enumerate(expected):
        data = one(batch, i)

        def score(v, data=data):
            params, logs = unravel(v)["params"], 0.0
            for k, support in enumerate(data.support):
                policy = objective.policy(params, support.observations)
                logs = logs + (policy.log_prob(support.actions) * support.mask).sum()
                params = objective.inner.step({}, params, support, k)
            return logs

        total = total - credit * torch.func.grad(score)(theta) / 5
    torch.testing.assert_close(
        meta_gradient(algorithm.objective(algorithm.initial_state(meta)), meta, batch)[1], total
    )


def test_chunks_do_not_change_the_score_term():
    objective, meta, batch = random_batch(1)
    settings = InnerConfig(surrogate="log-likelihood")
    algorithm = EMAML(objective.policy, settings)
    batch = algorithm.prepare(batch)
    scored = algorithm.objective(algorithm.initial_state(meta))
    whole = meta_gradient(scored, meta, batch)
    parts = meta_gradient(scored._replace(chunk_size=2), meta, batch)
    torch.testing.assert_close(parts, whole)


# All of it on a device, the CPU being one.


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(
    ("inner", "name", "outer"),
    [
        (InnerConfig(steps=2, surrogate="dice", hessian="separate"), "maml", Optimizer()),
        (InnerConfig(steps=2, surrogate="log-likelihood"), "e-maml", TrustRegion()),
        (InnerConfig(steps=2), "promp", Optimizer()),
    ],
    ids=["dice", "e-maml", "promp"],
)
def test_a_meta_iteration_stays_on_its_device(device, inner, name, outer):
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    env, policy = vectorize(TargetEnv, 12), models.functional(module)
    advantages = AdvantageConfig(normalize=name != "e-maml")
    sampler = RolloutSampler(env, policy, episodes=4, horizon=2, advantages=advantages)
    algorithm = get_algorithm(name)(policy, inner, outer, chunk_size=2)
    state = algorithm.init(tree.to(models.parameters(module), device))
    how = {"steps": 2, "key": (0, 0, 0), "separate_hessian": algorithm.data_spec.separate_hessian}
    tasks = np.array([[-1.0], [0.5], [1.0]])
    batch = collect(sampler, algorithm.inner, state.meta, tasks, **how)
    new, metrics = algorithm.update(state, batch)
    assert metrics["outcome"] == "accepted"
    assert not torch.equal(flat(new.meta), flat(state.meta))
    assert all(leaf.device.type == device for leaf in tree.leaves((new.meta, batch)))


# What does not go together.


@pytest.mark.parametrize(
    ("inner", "name", "outer", "words"),
    [
        ({"surrogate": "lvc"}, "e-maml", None, "count that a second time.*log-likelihood"),
        ({"surrogate": "dice"}, "e-maml", None, "inner.surrogate dice.*count that a second time"),
        (
            {"hessian": "separate", "surrogate": "log-likelihood"},
            "e-maml",
            None,
            "inner.hessian support",
        ),
        (
            {"surrogate": "log-likelihood"},
            "promp",
            Optimizer(),
            "log-likelihood does not correct for.*lvc",
        ),
        (
            {"surrogate": "dice"},
            "promp",
            Optimizer(),
            "dice corrects for by products.*too noisy. Take inner.surrogate lvc",
        ),
        ({"surrogate": "lvc"}, "promp", TrustRegion(), "Take outer optimizer"),
    ],
)
def test_combinations_that_are_wrong_are_refused_with_the_reason(inner, name, outer, words):
    with pytest.raises(ValueError, match=words):
        get_algorithm(name)(None, InnerConfig(**inner), outer)


def test_losses_of_ones_own_go_with_the_plain_surrogate_only():
    for kind in (EMAML, ProMP):
        with pytest.raises(ValueError, match="labeled examples"):
            kind(None, inner_loss=losses.mse, outer_loss=losses.mse, outer=Optimizer())
    with pytest.raises(ValueError, match="Leave out outer_loss"):
        ProMP(None, outer_loss=losses.likelihood_ratio)
    with pytest.raises(ValueError, match="leave one of them out"):
        MAML(None, InnerConfig(reduction="episodes"), inner_loss=losses.mse)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_copies": 0},
        {"clip": 0.0},
        {"clip": 1.0},
        {"epochs": 0},
        {"kl_coefficient": -1.0},
        {"kl_target": 0.0},
    ],
)
def test_bad_settings_are_named(wrong):
    ((name, value),) = wrong.items()
    kind = EMAML if name == "task_copies" else ProMP
    with pytest.raises(ValueError, match=re.escape(f"algorithm_settings.{name} must be")):
        kind.Settings(**{name: value})


def test_more_settings_that_say_nothing_together_are_refused():
    with pytest.raises(ValueError, match="FOMAML: its update leaves out"):
        FOMAML(None, InnerConfig(hessian="separate"))
    with pytest.raises(ValueError, match="baseline linear, or bootstrap False"):
        AdvantageConfig(baseline="none", bootstrap=True)
