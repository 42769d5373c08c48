"""Labelled examples apart for the derivative of an inner step: Fallah et al. 2020, algorithm 1."""

import gymnasium
import pytest
import torch

import envs  # noqa: F401  registers the worlds
from rlmaml import ExampleSampler, losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.collect import collect
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, meta_gradient
from rlmaml.random import generator
from rlmaml.types import MetaBatch, Referenced
from tests.problems import one, quadratic_loss, quadratics

KEY = (0, 3, 7)


def family(name, **kwargs):
    return gymnasium.make(f"rlmaml/{name}-v0", **kwargs).unwrapped.examples


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_on_quadratics_in_closed_form(steps):
    """Each inner step on A_in, its derivative on A_h, the outer loss on A_o: three problems."""
    alpha = 0.3
    support, hessian, query = (quadratics(4, 5, seed=seed) for seed in (1, 2, 3))
    x = torch.randn(5, dtype=torch.float64)
    objective = Objective(gradient_descent(quadratic_loss, alpha), unrolled, quadratic_loss, None)
    batch = MetaBatch((support,) * steps, query, (hessian,) * steps)
    _, found = meta_gradient(objective, {"params": {"x": x}}, batch)
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(4):
        phi, task = x, one(support, i)
        for _ in range(steps):
            phi = phi - alpha * task.curvature @ (phi - task.centre)
        v = one(query, i).curvature @ (phi - one(query, i).centre)
        jacobian = torch.eye(5, dtype=torch.float64) - alpha * one(hessian, i).curvature
        total += torch.linalg.matrix_power(jacobian, steps) @ v / 4
    torch.testing.assert_close(found, total)


@pytest.mark.parametrize(("name", "kwargs"), [("Sinusoid", {}), ("Digits", {"way": 2})])
def test_the_three_sets_are_disjoint(name, kwargs):
    examples = family(name, **kwargs)
    sampler = ExampleSampler(examples, shots=4, queries=5, own_hessian=True)
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
    how = {"shots": 3, "queries": 2, "own_hessian": True, "reference": True}
    tasks = examples.sample(2, generator(0))
    sampler = ExampleSampler(examples, **how)
    query = sampler({}, tasks, KEY, "query").inputs
    assert isinstance(query, Referenced)
    assert torch.equal(query.reference, sampler({}, tasks, KEY, "support").inputs)


def test_collect_brings_them_when_asked():
    examples = family("Sinusoid")
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    loss = losses.mse(models.functional(module))
    inner, meta = gradient_descent(loss, 0.1), {"params": models.parameters(module)}
    tasks = examples.sample(3, generator(0))
    sampler = ExampleSampler(examples, shots=4, queries=5, own_hessian=True)
    batch = collect(sampler, inner, meta, tasks, steps=2, key=KEY, own_hessian=True)
    assert len(batch.hessian) == 2
    assert not any(map(torch.equal, tree.leaves(batch.hessian), tree.leaves(batch.support)))
    assert collect(sampler, inner, meta, tasks, steps=2, key=KEY).hessian == ()


def test_too_few_examples_are_explained():
    examples = family("Digits")
    ExampleSampler(examples, shots=60, queries=20)
    with pytest.raises(ValueError, match=r"takes twice its 60 shots.*120 shots"):
        ExampleSampler(examples, shots=60, queries=100, own_hessian=True)
