"""Collection: who samples what, with which randomness, and where adaptation arrives."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.inner import adapt, gradient_descent, with_later_steps
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import MetaBatch
from tests.helpers.problems import TargetEnv, Walk, one, quadratic_loss, quadratics

KEY = (0, 3, 7)


INNER_ADVANTAGES, OUTER_ADVANTAGES = AdvantageConfig(discount=0.5), AdvantageConfig(discount=0.9)


def walkers(tasks=3, episodes=4, horizon=6):
    """A sampler, an inner loop with steps of two sizes, meta-parameters, tasks."""
    torch.manual_seed(0)
    model = models.GaussianMLP(2, 2, models.PolicyConfig(hidden=(8,), activation="tanh"))
    sampler = RolloutSampler(
        Walk(tasks * episodes, horizon),
        models.functional(model),
        episodes=episodes,
        horizon=horizon,
        advantages=OUTER_ADVANTAGES,
        support_advantages=INNER_ADVANTAGES,
    )
    inner = gradient_descent(losses.likelihood_ratio(sampler.policy), 0.1)
    inner = with_later_steps(inner, 4.0)  # from the second on
    goals = np.random.default_rng(0).uniform(-1, 1, (tasks, 2))
    return sampler, inner, {"params": models.parameters(model)}, goals


@pytest.mark.parametrize("chunk_size", [None, 1, 2])
def test_each_step_is_taken_on_what_its_own_policy_sampled(chunk_size):
    sampler, inner, meta, goals = walkers()
    batch = collect(sampler, inner, meta, goals, steps=2, key=KEY, chunk_size=chunk_size)
    assert len(batch.support) == 2
    for k, role in enumerate(("support", "support", "query")):
        data = (*batch.support, batch.query)[k]
        again = sampler(batch.iterates[k], goals, KEY, role, k)
        assert all(map(torch.equal, tree.leaves(again), tree.leaves(data))), k


def test_iterates_are_those_of_adapting_to_the_support_data():
    sampler, inner, meta, goals = walkers()
    batch = collect(sampler, inner, meta, goals, steps=3, key=KEY)
    assert len(batch.iterates) == 4
    for i in range(len(goals)):
        path = adapt(inner, meta, one(batch.support, i))
        torch.testing.assert_close(one(batch.iterates, i), path)
    points = [tree.ravel(one(batch.iterates[k], 0))[0] for k in range(4)]
    assert all((later - earlier).abs().max() > 1e-4 for earlier, later in pairwise(points))


def test_the_number_of_the_step_reaches_the_sampler_and_the_inner_step():
    asked, taken = [], []

    def sampler(params, tasks, key, role, step):
        asked.append((role, step))
        return quadratics(len(tasks), 2)

    inner = gradient_descent(quadratic_loss, 0.1)

    def step(meta, params, data, k):
        taken.append(k)
        return inner.step(meta, params, data, k)

    collect(
        sampler,
        inner._replace(step=step),
        {"params": {"x": torch.ones(2, dtype=torch.float64)}},
        np.zeros(3),
        steps=3,
        key=KEY,
        separate_hessian=True,
        chunk_size=3,
    )
    pairs = [(role, k) for k in range(3) for role in ("support", "hessian")]
    assert asked == [*pairs, ("query", 3)]
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("role", ["support", "hessian", "query"])
def test_advantages_are_of_the_kind_that_the_data_are_for(role):
    """The inner step's, for the data of its derivative too, and the outer loss's for the query."""
    sampler, inner, meta, goals = walkers()
    batch = collect(sampler, inner, meta, goals, steps=1, key=KEY, separate_hessian=True)
    found = {"support": batch.support[0], "hessian": batch.hessian[0], "query": batch.query}[role]
    config = OUTER_ADVANTAGES if role == "query" else INNER_ADVANTAGES
    k = int(role == "query")
    alike = RolloutSampler(sampler.env, sampler.policy, episodes=4, horizon=6, advantages=config)(
        batch.iterates[k], goals, KEY, role, k
    )
    assert torch.equal(found.actions, alike.actions)
    assert torch.equal(found.advantages, alike.advantages)
    other = INNER_ADVANTAGES if role == "query" else OUTER_ADVANTAGES
    swapped = RolloutSampler(sampler.env, sampler.policy, episodes=4, horizon=6, advantages=other)(
        batch.iterates[k], goals, KEY, role, k
    )
    assert (found.advantages - swapped.advantages).abs().max() > 0.1


def test_what_does_not_depend_on_parameters_is_collected_without_adapting():
    class Fixed:
        on_policy = False

        def __call__(self, params, tasks, key, role, step):
            return quadratics(len(tasks), 2)

    def step(*arguments):
        raise AssertionError("an inner step was taken")

    inner = gradient_descent(quadratic_loss, 0.1)._replace(step=step)
    meta = {"params": {"x": torch.ones(2, dtype=torch.float64)}}
    batch = collect(Fixed(), inner, meta, np.zeros(3), steps=2, key=KEY)
    assert isinstance(batch, MetaBatch)
    assert len(batch.support) == 2
    assert batch.iterates == ()


def test_no_query_data_on_request():
    sampler, inner, meta, goals = walkers()
    batch = collect(sampler, inner, meta, goals, steps=2, key=KEY, query=False)
    assert batch.query == ()
    assert len(batch.iterates) == 3


def test_hessian_data_are_sampled_apart_and_only_when_asked_for():
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    env, policy = vectorize(TargetEnv, 6), models.functional(module)
    sampler = RolloutSampler(env, policy, episodes=2, horizon=2, advantages=AdvantageConfig())
    inner = gradient_descent(losses.log_likelihood(policy), 0.1)
    meta, tasks = {"params": models.parameters(module)}, np.zeros((3, 1))
    how = {"steps": 2, "key": (0, 0, 0)}
    batch = collect(sampler, inner, meta, tasks, separate_hessian=True, **how)
    plain = collect(sampler, inner, meta, tasks, **how)
    assert plain.hessian == ()
    torch.testing.assert_close(batch._replace(hessian=()), plain, rtol=0, atol=0)
    drawn = [data.actions for data in (*batch.support, *batch.hessian, batch.query)]
    assert len({tuple(a.flatten().tolist()) for a in drawn}) == 5
    for k in range(2):  # both by φ_k
        for data in (batch.support[k], batch.hessian[k]):
            assert data.advantages.abs().sum() > 0
    params = batch.hessian[1]
    phi = [inner.step(meta, meta["params"], one(batch.support[0], i), 0) for i in range(3)]
    for i in range(3):
        episodes = one(params, i)
        logs = policy(phi[i], episodes.observations).log_prob(episodes.actions)
        torch.testing.assert_close(logs, episodes.log_probs)


def test_what_the_first_step_learns_from_is_there_as_the_outer_loss_sees_it():
    sampler, inner, meta, goals = walkers()
    batch = collect(sampler, inner, meta, goals, steps=2, key=KEY, before=True)
    for i in range(len(goals)):
        first, seen = one(batch.support, i)[0], one(batch.before, i)
        expected = estimate_advantages(first, OUTER_ADVANTAGES)
        torch.testing.assert_close(seen, expected)
        assert (seen.advantages - first.advantages).abs().max() > 0.1
    assert collect(sampler, inner, meta, goals, steps=2, key=KEY).before == ()
    assert collect(sampler, inner, meta, goals, steps=0, key=KEY, before=True).before == ()
