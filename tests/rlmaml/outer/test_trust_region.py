"""The trust region: its bound, a dense solve, refusals, and reductions to plain TRPO."""

import pytest
import torch

from rlmaml import tree
from rlmaml.algorithms.base import InnerConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.objective import evaluate, fisher_product, meta_gradient, reference
from rlmaml.outer import trust_region
from tests.helpers.problems import random_batch


@pytest.mark.parametrize("fraction", [1.0, 0.5])
@pytest.mark.parametrize("max_kl", [1e-3, 1e-2])
def test_trust_region_step_keeps_its_bound_and_lowers_the_loss(max_kl, fraction):
    objective, meta, batch = random_batch(1)
    config = trust_region.TrustRegion(max_kl=max_kl, fisher_fraction=fraction)
    ref = reference(objective, meta, batch)
    new, metrics = trust_region.update(objective, meta, batch, config)
    assert metrics["outcome"] == "accepted"
    before = evaluate(objective, meta, batch, ref)[0].mean()
    after, kls = evaluate(objective, new, batch, ref)
    assert after.mean() < before
    assert 0.3 * max_kl < kls.mean() <= max_kl
    assert metrics["kl"] == pytest.approx(kls.mean().item())
    assert metrics["kl/per_task"] == pytest.approx(kls.tolist())


def test_trust_region_step_against_a_dense_solve():
    objective, meta, batch = random_batch(1, tasks=3)
    config = trust_region.TrustRegion(max_kl=1e-6, damping=0.1, cg_iterations=200)
    new, _ = trust_region.update(objective, meta, batch, config)
    theta, _ = tree.ravel(meta)
    product = fisher_product(objective, meta, batch, reference(objective, meta, batch))
    dense = torch.stack([product(v) for v in torch.eye(len(theta), dtype=theta.dtype)])
    h = dense + 0.1 * torch.eye(len(theta), dtype=theta.dtype)
    _, gradient = meta_gradient(objective, meta, batch)
    x = torch.linalg.solve(h, gradient)
    expected = -x * (2e-6 / (x @ h @ x)).sqrt()
    moved = tree.ravel(new)[0] - theta
    torch.testing.assert_close(moved / moved.norm(), expected / expected.norm(), atol=1e-4, rtol=0)


def zero_advantages(batch):
    return batch._replace(query=batch.query._replace(advantages=0 * batch.query.advantages))


def nan_advantages(batch):
    return batch._replace(query=batch.query._replace(advantages=batch.query.advantages * torch.nan))


@pytest.mark.parametrize(
    ("spoil", "config", "outcome"),
    [
        (zero_advantages, {}, "gradient zero"),
        (nan_advantages, {}, "gradient not finite"),
        (lambda b: b, {"max_kl": 1e6, "backtracks": 1}, "no acceptable step"),
    ],
)
def test_no_step_leaves_the_parameters_bitwise_and_says_why(spoil, config, outcome):
    objective, meta, batch = random_batch(1)
    before = tree.map(torch.clone, meta)
    new, metrics = trust_region.update(
        objective, meta, spoil(batch), trust_region.TrustRegion(**config)
    )
    assert metrics["outcome"] == outcome
    for group in before:
        for name in before[group]:
            assert torch.equal(new[group][name], before[group][name])


def test_curvature_that_is_not_positive_takes_no_step(monkeypatch):
    objective, meta, batch = random_batch(1)
    monkeypatch.setattr(trust_region, "fisher_product", lambda *a, **k: lambda v: -v)
    new, metrics = trust_region.update(objective, meta, batch, trust_region.TrustRegion())
    assert metrics["outcome"] == "curvature not positive"
    assert new is meta


def test_zero_inner_steps_is_plain_trpo():
    """Against TRPO on one pooled batch, written with autograd on the module's own parameters."""
    objective, meta, batch = random_batch(0, tasks=3)
    algorithm = MAML(
        objective.policy,
        InnerConfig(steps=0),
        trust_region.TrustRegion(cg_iterations=200, damping=0.01),
    )
    new = algorithm.update(algorithm.initial_state(meta), batch)[0].meta

    theta, unravel = tree.ravel(meta)
    theta.requires_grad_()
    query = batch.query

    def mean(x):  # over steps, then over tasks
        return ((x * query.mask).sum((1, 2)) / query.mask.sum((1, 2))).mean()

    def policy(v):
        return objective.policy(unravel(v)["params"], query.observations)

    old = type(policy(theta))(*(field.detach() for field in policy(theta)))

    def surrogate(v):
        ratio = (policy(v).log_prob(query.actions) - query.log_probs).exp()
        return -mean(ratio * query.advantages)

    (gradient,) = torch.autograd.grad(surrogate(theta), theta)
    hessian = torch.autograd.functional.hessian(lambda v: mean(old.kl(policy(v))), theta.detach())
    hessian = hessian + 0.01 * torch.eye(len(theta), dtype=theta.dtype)
    x = torch.linalg.solve(hessian, gradient)
    step = -x * (0.02 / (x @ hessian @ x)).sqrt()
    while not (
        surrogate(theta + step) < surrogate(theta) and mean(old.kl(policy(theta + step))) <= 0.01
    ):
        step = 0.8 * step
    torch.testing.assert_close(tree.ravel(new)[0], (theta + step).detach(), atol=1e-5, rtol=1e-3)
