"""What was made fast still computes what it did."""

import time

import pytest
import torch

from rlmaml import stages, tree, trpo
from rlmaml.linalg import conjugate_gradient, solve
from rlmaml.objective import (
    evaluate,
    fisher_product,
    gradient_and_reference,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.returns import discounted_sum
from tests.problems import random_batch


def test_one_task_at_a_time_is_all_at_once():
    rows = {"a": (torch.randn(3, 4, requires_grad=True), torch.randn(3, 4))}

    def function(tree, scale):
        a, b = tree["a"]
        return {"product": (a * b).sum() * scale, "pair": (a.exp(), b)}

    scale = torch.randn(3)
    found, expected = (over_tasks(function, size)(rows, scale) for size in (1, None))
    for one, other in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        torch.testing.assert_close(one, other)
    a = rows["a"][0]
    gradients = [torch.autograd.grad(each["product"].sum(), a)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_gradient_and_reference_are_those_computed_alone(chunk_size):
    objective, meta, batch = random_batch(2)
    objective = objective._replace(chunk_size=chunk_size)
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    expected = (*meta_gradient(objective, meta, batch), reference(objective, meta, batch))
    for one, other in zip(tree.leaves((losses, gradient, ref)), tree.leaves(expected), strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("fraction", [0.34, 1.0])
def test_curvature_does_not_depend_on_how_tasks_are_stacked(fraction):
    objective, meta, batch = random_batch(1)
    ref = reference(objective, meta, batch)
    v = torch.randn_like(tree.ravel(meta)[0])
    found = [
        fisher_product(objective._replace(chunk_size=size), meta, batch, ref, fraction=fraction)(v)
        for size in (1, 2, None)
    ]
    torch.testing.assert_close(found[0], found[2], atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found[1], found[2], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("length", [1, 2, 500])
def test_discounted_sum_is_its_recursion(length, discount):
    x = torch.randn(3, length, dtype=torch.float64)
    carry, expected = torch.zeros(3, dtype=torch.float64), torch.empty_like(x)
    for t in reversed(range(length)):
        expected[:, t] = carry = x[:, t] + discount * carry
    torch.testing.assert_close(discounted_sum(x, discount), expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("iterations", [1, 4, 50])
def test_residual_is_what_is_left(iterations):
    root = torch.randn(9, 9, dtype=torch.float64)
    a, b = root @ root.T + torch.eye(9), torch.randn(9, dtype=torch.float64)
    x, residual, spent = solve(lambda v: a @ v, b, iterations=iterations)
    torch.testing.assert_close(residual, b - a @ x, atol=1e-10, rtol=0)
    same, count = conjugate_gradient(lambda v: a @ v, b, iterations=iterations)
    assert torch.equal(x, same)
    assert spent == count


@pytest.mark.parametrize(
    ("factor", "candidates"), [(1.0, 1), (1 / 1.5, 2), (0.01, 2), (3.0, 2), (100.0, 2)]
)
def test_length_is_corrected_where_part_of_the_data_misjudges_it(monkeypatch, factor, candidates):
    """Curvature `factor` times the true one makes the squared length 1/factor times the right."""
    objective, meta, batch = random_batch(1)

    def misjudged(*arguments, fraction):
        product = fisher_product(*arguments, fraction=1.0)
        return lambda v: factor * product(v)

    monkeypatch.setattr(trpo, "fisher_product", misjudged)
    config = trpo.TrustRegion(max_kl=1e-4, fisher_fraction=0.5, damping=0.0, cg_iterations=3)
    ref = reference(objective, meta, batch)
    new, metrics = trpo.update(objective, meta, batch, config)
    assert metrics["outcome"] == "accepted"
    assert metrics["line_search_steps"] == candidates
    kl = evaluate(objective, new, batch, ref)[1].mean().item()
    assert kl == pytest.approx(metrics["kl"])
    assert kl == pytest.approx(trpo.AIM * config.max_kl, rel=0.06)


def test_stages_are_timed_while_somebody_records():
    with stages.stage("before"):
        pass
    with stages.recorded() as outer, stages.stage("a"):
        with stages.recorded() as inner, stages.stage("b"):
            time.sleep(0.01)
        with stages.stage("a"):
            time.sleep(0.01)
    with stages.stage("after"):
        pass
    assert set(outer) == {"a", "b"}
    assert set(inner) == {"b"}
    assert outer["b"] == pytest.approx(inner["b"], abs=0.005)
    assert outer["b"] >= 0.01
    assert outer["a"] >= outer["b"] + 0.01


def test_a_stage_that_fails_is_timed_and_ends():
    with stages.recorded() as seconds:
        with pytest.raises(KeyError), stages.stage("a"):
            raise KeyError
        with stages.stage("b"):
            pass
    assert set(seconds) == {"a", "b"}
