"""The trust region: its bound, a dense solve, refusals, and reductions to plain TRPO."""

import pytest
import torch

from rlmaml import models, tree
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.distributions import Gaussian
from rlmaml.objective import (
    evaluate,
    fisher_product,
    gradient_and_reference,
    meta_gradient,
    reference,
)
from rlmaml.outer import trust_region
from tests.helpers.problems import SUPERVISED, random_batch, supervised_problem


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


@pytest.mark.parametrize(
    ("factor", "candidates"), [(1.0, 1), (1 / 1.5, 2), (0.01, 2), (3.0, 2), (100.0, 2)]
)
def test_length_is_corrected_where_part_of_the_data_misjudges_it(monkeypatch, factor, candidates):
    """Curvature `factor` times the true one makes the squared length 1/factor times the right."""
    objective, meta, batch = random_batch(1)

    def misjudged(*arguments, fraction):
        product = fisher_product(*arguments, fraction=1.0)
        return lambda v: factor * product(v)

    monkeypatch.setattr(trust_region, "fisher_product", misjudged)
    config = trust_region.TrustRegion(
        max_kl=1e-4, fisher_fraction=0.5, damping=0.0, cg_iterations=3
    )
    ref = reference(objective, meta, batch)
    new, metrics = trust_region.update(objective, meta, batch, config)
    assert metrics["outcome"] == "accepted"
    assert metrics["line_search_steps"] == candidates
    kl = evaluate(objective, new, batch, ref)[1].mean().item()
    assert kl == pytest.approx(metrics["kl"])
    assert kl == pytest.approx(trust_region.AIM * config.max_kl, rel=0.06)


def judged(monkeypatch, *verdicts):
    """An update whose candidates have these (loss, KL), the collecting policy's loss being 0."""
    torch.manual_seed(0)
    objective, meta, batch = random_batch(1)
    found = [(torch.full((2,), loss), torch.full((2,), kl)) for loss, kl in verdicts]
    remaining = iter(found)
    monkeypatch.setattr(trust_region, "evaluate", lambda *arguments: next(remaining))
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    answer = (0 * losses, gradient, ref)
    monkeypatch.setattr(trust_region, "gradient_and_reference", lambda *arguments: answer)
    config = trust_region.TrustRegion(max_kl=1.0, fisher_fraction=0.5, backtracks=len(verdicts))
    new, metrics = trust_region.update(objective, meta, batch, config)
    return metrics, (tree.ravel(new)[0] - tree.ravel(meta)[0]).norm().item()


def test_a_correction_is_one_of_the_candidates(monkeypatch):
    metrics, length = judged(monkeypatch, (-1.0, 4.0), (-1.0, 1.5), (1.0, 0.5))
    assert metrics["outcome"] == "no acceptable step"
    assert metrics["line_search_steps"] == 3
    assert length == 0


def test_a_short_step_is_taken_where_no_longer_one_will_do(monkeypatch):
    metrics, short = judged(monkeypatch, (-1.0, 0.01), (1.0, 0.9), (1.0, 0.7))
    assert metrics["outcome"] == "accepted"
    assert (metrics["surrogate/gain"], metrics["kl"]) == pytest.approx((1.0, 0.01))
    assert metrics["line_search_steps"] == 3
    metrics, corrected = judged(monkeypatch, (-1.0, 0.01), (-1.0, 0.9))
    assert metrics["line_search_steps"] == 2
    assert corrected == pytest.approx(short * (trust_region.AIM / 0.01) ** 0.5, rel=1e-4)


class FixedStd(models.GaussianMLP):
    """A policy whose standard deviation is a constant."""

    def __init__(self):
        super().__init__(3, 2, models.PolicyConfig(hidden=(6,)))
        del self.log_std

    def forward(self, observations):
        mean = self.mean(observations)
        return Gaussian(mean, torch.full_like(mean, -0.5))


def test_a_policy_with_a_constant_field_can_be_trained():
    objective, meta, batch = random_batch(1, kind=lambda *_: FixedStd())
    new, metrics = trust_region.update(objective, meta, batch, trust_region.TrustRegion())
    assert metrics["outcome"] == "accepted"
    assert "log_std" not in new["params"]


@pytest.mark.parametrize("kind", SUPERVISED)
@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_trust_region_works_unchanged(kind, fraction):
    objective, meta, batch = supervised_problem(kind)
    config = trust_region.TrustRegion(fisher_fraction=fraction)
    new, metrics = trust_region.update(objective, meta, batch, config)
    ref = reference(objective, meta, batch)
    before, after = (evaluate(objective, m, batch, ref)[0].mean() for m in (meta, new))
    assert metrics["outcome"] == "accepted"
    assert after < before
    assert 0 < metrics["kl"] <= config.max_kl


def test_the_step_is_as_long_as_the_curvature_along_it_allows(monkeypatch):
    """x·Hx, and not x·g, which is another where the solver has not come to its end."""
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    h, (x, g) = root @ root.T, torch.randn(2, 6, generator=rng, dtype=torch.float64)
    monkeypatch.setattr(trust_region, "solve", lambda product, b, **how: (x, b - product(x), 3))
    config = trust_region.TrustRegion(max_kl=0.02, damping=0.1)
    step, spent = trust_region._longest_step(lambda v: h @ v, g, config)
    assert spent == 3
    damped = h + 0.1 * torch.eye(6, dtype=torch.float64)
    assert (0.5 * step @ damped @ step).item() == pytest.approx(0.02)
    torch.testing.assert_close(step / step.norm(), -x / x.norm())
    assert abs((x @ g / (x @ damped @ x)).item() - 1) > 0.5  # or either would do


def test_the_entropy_is_that_of_valid_steps():
    objective, meta, batch = random_batch(1, kind=models.CategoricalMLP)
    entropies = reference(objective, meta, batch).policy.entropy()
    mask = batch.query.mask
    assert mask.mean() < 1
    expected = ((entropies * mask).sum((1, 2)) / mask.sum((1, 2))).mean().item()
    _, metrics = trust_region.update(objective, meta, batch, trust_region.TrustRegion())
    assert metrics["entropy"] == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(entropies.mean().item(), rel=1e-6)
