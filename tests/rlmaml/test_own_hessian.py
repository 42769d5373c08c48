"""Data apart for the derivative of an inner step: Fallah et al. 2020, algorithm 1."""

import gymnasium
import numpy as np
import pytest
import torch

import envs  # noqa: F401  registers the worlds
from rlmaml import ExampleSampler, losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.advantages import AdvantageConfig
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, at_end, fisher_product, meta_gradient, reference
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import InputsWithStatistics, MetaBatch
from tests.helpers.problems import TargetEnv, one, quadratic_loss, quadratics, random_batch

KEY = (0, 3, 7)


def family(name, **kwargs):
    return gymnasium.make(f"rlmaml/{name}-v0", **kwargs).unwrapped.examples


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_on_quadratics_in_closed_form(steps):
    """Each inner step on A_in, its derivative on A_h, the outer loss on A_o: three problems."""
    alpha = 0.3
    support, hessian, query = (quadratics(4, 5, seed=seed) for seed in (1, 2, 3))
    x = torch.randn(5, dtype=torch.float64)
    objective = Objective(
        gradient_descent(quadratic_loss, alpha), unrolled, at_end(quadratic_loss), None
    )
    batch = MetaBatch((support,) * steps, query, (hessian,) * steps)
    _, found = meta_gradient(objective, {"params": {"x": x}}, batch)
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(4):
        phi, task = x, one(support, i)
        for _ in range(steps):
            phi = phi - alpha * task.curvature @ (phi - task.center)
        v = one(query, i).curvature @ (phi - one(query, i).center)
        jacobian = torch.eye(5, dtype=torch.float64) - alpha * one(hessian, i).curvature
        total += torch.linalg.matrix_power(jacobian, steps) @ v / 4
    torch.testing.assert_close(found, total)


@pytest.mark.parametrize(("name", "kwargs"), [("Sinusoid", {}), ("Digits", {"way": 2})])
def test_the_three_sets_are_disjoint(name, kwargs):
    examples = family(name, **kwargs)
    sampler = ExampleSampler(examples, shots=4, queries=5, separate_hessian=True)
    tasks = examples.sample(3, generator(0))
    sets = [sampler({}, tasks, KEY, role) for role in ("support", "hessian", "query")]
    classes = 2 if name == "Digits" else 1
    assert [data.targets.shape[1] for data in sets] == [4 * classes, 4 * classes, 5 * classes]
    for i in range(3):
        rows = torch.cat([data.inputs[i].flatten(1) for data in sets])
        assert len(rows.unique(dim=0)) == len(rows)
    if classes == 2:
        for data in sets:
            assert torch.equal(data.targets.sum(1), torch.full((3,), data.targets.shape[1] // 2))
    again = sampler({}, tasks, KEY, "hessian", 1)  # all inner steps share a set
    assert torch.equal(again.inputs, sets[1].inputs)


def test_batch_norm_looks_at_the_support_set_alone():
    examples = family("Digits", way=2)
    how = {"shots": 3, "queries": 2, "separate_hessian": True, "reference": True}
    tasks = examples.sample(2, generator(0))
    sampler = ExampleSampler(examples, **how)
    query = sampler({}, tasks, KEY, "query").inputs
    assert isinstance(query, InputsWithStatistics)
    assert torch.equal(query.reference, sampler({}, tasks, KEY, "support").inputs)


def test_collect_brings_them_when_asked():
    examples = family("Sinusoid")
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    loss = losses.mse(models.functional(module))
    inner, meta = gradient_descent(loss, 0.1), {"params": models.parameters(module)}
    tasks = examples.sample(3, generator(0))
    sampler = ExampleSampler(examples, shots=4, queries=5, separate_hessian=True)
    batch = collect(sampler, inner, meta, tasks, steps=2, key=KEY, separate_hessian=True)
    assert len(batch.hessian) == 2
    assert not any(map(torch.equal, tree.leaves(batch.hessian), tree.leaves(batch.support)))
    assert collect(sampler, inner, meta, tasks, steps=2, key=KEY).hessian == ()


def test_too_few_examples_are_explained():
    examples = family("Digits")
    ExampleSampler(examples, shots=60, queries=20)
    with pytest.raises(ValueError, match=r"takes 2 times its 60 shots.*120 shots"):
        ExampleSampler(examples, shots=60, queries=100, separate_hessian=True)


def hessian_batch():
    objective, meta, batch = random_batch(2, tasks=3)
    _, _, other = random_batch(2, tasks=3)
    shifted = tuple(
        d._replace(advantages=d.advantages.flip(1) + 0.5 * d.mask) for d in other.support
    )
    return objective, meta, batch._replace(hessian=shifted)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_curvature_with_separate_hessian_data(fraction):
    """Jᵀ F J: J from the Hessian data, F from the query data, both dense and by hand."""
    objective, meta, batch = hessian_batch()
    ref = reference(objective, meta, batch)
    theta, unravel = tree.ravel(meta)
    product = fisher_product(objective, meta, batch, ref, fraction=fraction)
    expected, v = torch.zeros_like(theta), torch.randn_like(theta)
    for i in range(3):
        data, path = one((batch, ref.iterates), i)
        if fraction < 1:
            data = tree.map(lambda leaf: leaf[:2], data)
        jacobian = torch.eye(len(theta), dtype=theta.dtype)
        for params, extra in zip(path[:-1], data.hessian, strict=True):
            hessian = torch.func.hessian(
                lambda w, d=extra: losses.log_likelihood(objective.policy)(unravel(w)["params"], d)
            )(tree.ravel(params)[0])
            jacobian = (torch.eye(len(theta)) - 0.4 * hessian) @ jacobian
        outputs = objective.policy(path[-1], data.query.observations)

        def kl(w, data=data, old=outputs):
            new = objective.policy(unravel(w)["params"], data.query.observations)
            return (old.kl(new) * data.query.mask).sum() / data.query.mask.sum()

        fisher = torch.func.hessian(kl)(tree.ravel(path[-1])[0])
        expected += jacobian.T @ fisher @ jacobian @ v / 3
    torch.testing.assert_close(product(v), expected)


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
