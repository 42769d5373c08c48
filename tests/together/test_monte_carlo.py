"""The sampler's own batches agree with the enumeration of all batches.

Each case is one choice of surrogate, objective and advantages. Its expectation is summed over all
inner and outer data sets of a small world, with the same baseline and normalization; against it
stands the mean over many meta-batches as training collects them: sampler, masks, advantages,
credit and meta-gradient together. Where the choice is unbiased, the expectation is the gradient
of the return that is maximized, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch

import envs  # noqa: F401  registers the environments
from rlmaml import algorithms, tree
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.e_maml import EMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.returns import reduce
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.tabular import (
    World,
    WorldEnv,
    adapted_return,
    every_batch,
    expected_gradient,
    expected_return,
    small_policy,
    trajectories,
    world,
)

pytestmark = pytest.mark.slow

EPISODES = 2
TASKS = 500
BATCHES = 12
ALPHA = 0.7

DEFAULT_ALGORITHM = AdvantageConfig(discount=0.9, gae_lambda=0.8)
"""A baseline fitted on the episodes that it serves, normalization: biased, and in a known way."""
RAW = AdvantageConfig(discount=1.0, baseline="none", normalize=False)
UNSCALED = AdvantageConfig(discount=0.9, gae_lambda=0.8, normalize=False)


class Case(NamedTuple):
    method: str
    inner: InnerConfig
    settings: Any
    reduction: str
    support: AdvantageConfig
    query: AdvantageConfig


def case(
    surrogate="log-likelihood",
    name="maml",
    *,
    support=DEFAULT_ALGORITHM,
    query=DEFAULT_ALGORITHM,
    reduction="steps",
    own=None,
    **inner,
) -> Case:
    settings = InnerConfig(step_size=ALPHA, surrogate=surrogate, reduction=reduction, **inner)
    return Case(name, settings, own, reduction, support, query)


SUMS = {"support": RAW, "query": RAW, "reduction": "episodes"}
CASES = {
    "log-likelihood": case(),
    "lvc": case("lvc"),
    "dice": case("dice"),
    "dice, no control variate": case("dice", support=RAW),
    "first-order": case(name="fo-maml"),
    "two steps": case("dice", steps=2, support=UNSCALED),
    "separate hessian": case("dice", hessian="separate"),
    "e-maml": case(name="e-maml", query=UNSCALED),
    "e-maml, copies": case(name="e-maml", query=UNSCALED, own=EMAML.Settings(2)),
    "e-maml, two steps": case(name="e-maml", query=RAW, steps=2),
    "promp": case("lvc", "promp"),
    "e-maml, unbiased": case(name="e-maml", **SUMS),
    "separate hessian, unbiased": case("dice", hessian="separate", **SUMS),
}


def algorithm(case: Case, policy) -> Algorithm:
    kind = algorithms.get_algorithm(case.method)
    return kind(policy, case.inner, settings=case.settings, outer_reduction=case.reduction)


def expectation(case: Case, policy, meta, chosen) -> torch.Tensor:
    """Over all batches. E-MAML's baseline has no part in it: it is independent of what it meets."""
    method = algorithm(case, policy)
    batch, weights = every_batch(
        policy,
        method.inner,
        meta,
        trajectories(chosen, torch.float32),
        n=EPISODES,
        steps=case.inner.steps,
        outer=EPISODES,
        separate_hessian=method.data_spec.separate_hessian,
        estimate=partial(estimate_advantages, config=case.support),
        outer_estimate=partial(estimate_advantages, config=case.query),
    )
    assert weights.sum().item() == pytest.approx(1)
    if case.method == "e-maml":
        mean = partial(reduce, reduction=case.reduction)
        batch = batch._replace(credit=over_tasks(mean)(batch.query.rewards, batch.query.mask))
    objective = method.objective(method.initial_state(meta))._replace(chunk_size=8192)
    return expected_gradient(objective, meta, batch, weights)


def samples(case: Case, policy, meta, tasks, env) -> torch.Tensor:
    """Meta-gradients of independent meta-batches, [BATCHES, P]."""
    method = algorithm(case, policy)
    sampler = RolloutSampler(
        env,
        policy,
        episodes=EPISODES,
        horizon=2,
        advantages=case.query,
        support_advantages=case.support,
    )
    found = []
    for i in range(BATCHES):
        batch = collect(
            sampler,
            method.inner,
            meta,
            tasks,
            steps=case.inner.steps,
            key=(0, i, 0),
            separate_hessian=method.data_spec.separate_hessian,
        )
        objective = method.objective(method.initial_state(meta))
        found.append(meta_gradient(objective, meta, method.prepare(batch))[1])
    return torch.stack(found)


def assert_agrees(samples: torch.Tensor, mean: torch.Tensor) -> None:
    """Within 4 standard errors, which are small enough to tell."""
    error = samples.std(0) / len(samples) ** 0.5
    assert error.norm() < 0.1 * mean.norm()
    assert standardized(samples, mean).max() < 4


def standardized(samples: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """How many standard errors each component's mean is from `mean`."""
    error = samples.std(0) / len(samples) ** 0.5
    return ((samples.mean(0) - mean) / error).abs()


class Setting(NamedTuple):
    policy: Callable
    meta: dict
    world: World
    drawn: Callable[[str], torch.Tensor]  # a case's samples, drawn once

    def expectation(self, case: Case) -> torch.Tensor:
        return expectation(case, self.policy, self.meta, self.world)


@pytest.fixture(scope="module")
def setting():
    chosen = world(0)
    policy, params = small_policy(chosen)
    env = gymnasium.make_vec(
        "rlmaml/TabularMDP-v0",
        num_envs=TASKS * EPISODES,
        num_states=2,
        num_actions=2,
        reward_noise=0.0,
        max_episode_steps=chosen.horizon,
        autoreset_mode="Disabled",
    )
    meta, tasks = {"params": params}, np.stack([chosen.task] * TASKS)

    @cache
    def drawn(name: str) -> torch.Tensor:
        return samples(CASES[name], policy, meta, tasks, env)

    yield Setting(policy, meta, chosen, drawn)
    env.close()


@pytest.mark.parametrize("name", CASES)
def test_sampled_meta_gradients_have_their_expectation(setting, name):
    assert_agrees(setting.drawn(name), setting.expectation(CASES[name]))


def test_what_is_unbiased_has_the_gradient_of_the_return_itself(setting):
    """E-MAML: that of V_2. DiCE with separate Hessian data: (I + α∇²J) times the other factor,
    the expected gradient after adaptation, which the first-order adjoint alone has."""
    policy, every = setting.policy, trajectories(setting.world)
    theta, unravel = tree.ravel(setting.meta)
    name = "e-maml, unbiased"
    value = adapted_return(policy, algorithm(CASES[name], policy).inner, every, EPISODES)
    truth = -torch.func.grad(lambda v: value(unravel(v)))(theta)
    found = setting.expectation(CASES[name])
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-9)
    assert_agrees(setting.drawn(name), truth)

    hessian = torch.func.hessian(lambda v: expected_return(policy, unravel(v)["params"], every))
    first_order = setting.expectation(case(name="fo-maml", **SUMS))
    truth = first_order + ALPHA * hessian(theta) @ first_order
    assert_agrees(setting.drawn("separate hessian, unbiased"), truth)


def test_the_wrong_expectation_is_told_apart(setting):
    for mine, other in (("log-likelihood", "dice"), ("lvc", "log-likelihood"), ("e-maml", "lvc")):
        wrong = setting.expectation(CASES[other])
        assert standardized(setting.drawn(mine), wrong).max() > 5


@pytest.mark.parametrize(
    "chosen_case",
    [
        case("lvc"),
        case("dice", reduction="episodes"),
        case(name="e-maml", query=UNSCALED),
        case(name="e-maml", **SUMS),
    ],
    ids=["lvc", "dice", "e-maml", "e-maml, unbiased"],
)
def test_episodes_that_end_early(chosen_case):
    """Half of the episodes are padded: masks, and environments that reset by themselves."""
    chosen = world(0, ending=True)
    assert len(trajectories(chosen).law) == 5
    policy, params = small_policy(chosen)
    meta = {"params": params}
    env = vectorize(lambda: WorldEnv(chosen), TASKS * EPISODES)
    found = samples(chosen_case, policy, meta, np.zeros(TASKS, int), env)
    assert_agrees(found, expectation(chosen_case, policy, meta, chosen))
    if chosen_case.support is RAW:
        inner = algorithm(chosen_case, policy).inner
        value = adapted_return(policy, inner, trajectories(chosen), EPISODES)
        theta, unravel = tree.ravel(meta)
        assert_agrees(found, -torch.func.grad(lambda v: value(unravel(v)))(theta))
    env.close()
