"""What all algorithms have in common: settings that are refused, losses, devices."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms import get_algorithm
from rlmaml.algorithms.e_maml import EMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.promp import ProMP
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.inner import gradient_descent
from rlmaml.objective import meta_gradient
from rlmaml.outer import trust_region
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import (
    TargetEnv,
    quadratic_loss,
)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="step size"):
        gradient_descent(quadratic_loss, 0.0)
    for field in dataclasses.fields(trust_region.TrustRegion):
        with pytest.raises(ValueError, match=field.name):
            trust_region.TrustRegion(**{field.name: -1})


def flat(meta):
    return tree.ravel(meta)[0]


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
    with pytest.raises(ValueError, match="baseline linear, or bootstrap False"):
        AdvantageConfig(baseline="none", bootstrap=True)


@pytest.mark.parametrize("name", ["maml", "fo-maml", "promp", "maml++", "e-maml"])
def test_the_loss_before_adaptation_counts_by_its_weight(name):
    """The rest is the loss without it, and what it adds is the policy gradient at θ."""
    kind = get_algorithm(name)
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    policy = models.functional(module)
    inner = InnerConfig(2, 0.3, surrogate="log-likelihood" if name == "e-maml" else "lvc")
    weighted = kind(policy, dataclasses.replace(inner, before_weight=0.7))
    plain = kind(policy, inner)
    outer = AdvantageConfig(normalize=False)
    sampler = RolloutSampler(
        vectorize(TargetEnv, 12),
        policy,
        episodes=4,
        horizon=2,
        advantages=outer,
        support_advantages=AdvantageConfig(discount=0.5),
    )
    state = weighted.init(models.parameters(module))
    assert weighted.data_spec.before
    assert not plain.data_spec.before
    how = {"steps": 2, "key": (0, 0, 0), "before": True}
    tasks = np.array([[-1.0], [0.5], [1.0]])
    batch = weighted.prepare(collect(sampler, weighted.inner, state.meta, tasks, **how))
    whole, _ = gradient_of(weighted, state, batch)
    rest, _ = gradient_of(plain, state, batch)
    alone = kind(policy, dataclasses.replace(inner, steps=0))
    without = batch._replace(support=(), query=batch.before, credit=(), iterates=())
    if name == "e-maml":
        alone = MAML(policy, dataclasses.replace(inner, steps=0))
    added, _ = gradient_of(alone, alone.init(models.parameters(module)), without)
    size = len(added)  # of θ; what else is meta-learned comes after it, and is not in φ_0
    torch.testing.assert_close(whole[:size], rest[:size] + 0.7 * added[:size])
    assert added.abs().max() > 1e-3


def gradient_of(algorithm, state, batch):
    losses_of_tasks, gradient = meta_gradient(algorithm.objective(state), state.meta, batch)
    return gradient, losses_of_tasks


def test_a_loss_before_adaptation_is_refused_where_there_is_no_such_loss():
    inner = InnerConfig(before_weight=1.0)
    for name in ("reptile", "bayesian-maml"):
        kind = get_algorithm(name)
        settings = kind.Settings(loss="chaser") if name == "bayesian-maml" else None
        with pytest.raises(ConfigError, match=r"before_weight 1\.0 does not go with"):
            kind(models.functional(models.RegressionMLP(1, 1)), inner, Optimizer(), settings)
    with pytest.raises(ConfigError, match="zero or positive"):
        InnerConfig(before_weight=-1.0)
