"""Adaptation, adjoints, meta-gradient, curvature and the trust region."""

import dataclasses

import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.adjoints import first_order
from rlmaml.algorithms.base import InnerConfig
from rlmaml.distributions import Gaussian
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import (
    Objective,
    at_end,
    evaluate,
    fisher_product,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.outer import trust_region
from rlmaml.returns import masked_mean
from rlmaml.types import MetaBatch
from tests.helpers.problems import ADJOINTS, end_loss, one, quadratic_loss, quadratics, random_batch

ALPHA = 0.3


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_adapt_against_the_closed_form(steps):
    tasks = quadratics(4, 5)
    meta = {"params": {"x": torch.randn(5, dtype=torch.float64)}}
    inner = gradient_descent(quadratic_loss, ALPHA)
    path = over_tasks(lambda task: adapt(inner, meta, (task,) * steps))(tasks)
    assert len(path) == steps + 1
    contraction = torch.eye(5, dtype=torch.float64) - ALPHA * tasks.curvature
    for k, params in enumerate(path):
        power = torch.linalg.matrix_power(contraction, k)
        start = (meta["params"]["x"] - tasks.center).unsqueeze(-1)
        torch.testing.assert_close(params["x"], tasks.center + (power @ start).squeeze(-1))


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [None, 1, 3])
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_meta_gradient_against_the_closed_form(steps, chunk_size, adjoint):
    tasks = quadratics(4, 5)
    meta = {"params": {"x": torch.randn(5, dtype=torch.float64)}}
    objective = Objective(
        gradient_descent(quadratic_loss, ALPHA),
        ADJOINTS[adjoint],
        at_end(quadratic_loss),
        None,
        chunk_size,
    )
    found, gradient = meta_gradient(objective, meta, MetaBatch((tasks,) * steps, tasks))
    power = torch.linalg.matrix_power(
        torch.eye(5, dtype=torch.float64) - ALPHA * tasks.curvature, steps
    )
    shift = power @ (meta["params"]["x"] - tasks.center).unsqueeze(-1)
    jacobian = power if adjoint == "unrolled" else torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(gradient, (jacobian @ tasks.curvature @ shift).mean(0).squeeze(-1))
    torch.testing.assert_close(found, (0.5 * shift.mT @ tasks.curvature @ shift).flatten())


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("kind", [models.GaussianMLP, models.CategoricalMLP])
def test_unrolled_meta_gradient_by_finite_differences(steps, kind):
    objective, meta, batch = random_batch(steps, kind=kind)
    _, gradient = meta_gradient(objective, meta, batch)
    ref = reference(objective, meta, batch)
    theta, unravel = tree.ravel(meta)
    step = 1e-6
    for direction in torch.eye(len(theta), dtype=torch.float64)[:: max(1, len(theta) // 12)]:
        up, down = (
            evaluate(objective, unravel(theta + sign * step * direction), batch, ref)[0].mean()
            for sign in (1, -1)
        )
        assert (up - down).item() / (2 * step) == pytest.approx(
            (gradient @ direction).item(), abs=1e-8
        )


def test_first_order_leaves_out_exactly_the_inner_curvature():
    objective, meta, batch = random_batch(1)
    _, full = meta_gradient(objective, meta, batch)
    _, first = meta_gradient(objective._replace(adjoint=first_order), meta, batch)
    theta, unravel = tree.ravel(meta["params"])
    expected = torch.zeros_like(theta)
    for i in range(5):
        data = one(batch, i)
        hessian = torch.func.hessian(
            lambda v, d=data: losses.log_likelihood(objective.policy)(unravel(v), d.support[0])
        )(theta)
        adapted = adapt(objective.inner, meta, data.support)[-1]
        v, _ = tree.ravel(torch.func.grad(end_loss(objective))(adapted, data.query))
        expected += v / 5
        full = full + 0.4 * hessian @ v / 5
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(first, full)


@pytest.mark.parametrize("adjoint", ADJOINTS)
@pytest.mark.parametrize("steps", [1, 2])
def test_push_and_pull_are_transposes(adjoint, steps):
    """⟨J u, v⟩ = ⟨u, Jᵀ v⟩, with J u by the double-reverse trick of `fisher_product`."""
    objective, meta, batch = random_batch(steps, tasks=1)
    data = one(batch, 0)
    theta, unravel = tree.ravel(meta)
    theta.requires_grad_()
    end = tree.ravel(ADJOINTS[adjoint](objective.inner, unravel(theta), data.support)[-1])[0]
    u, v = torch.randn_like(theta), torch.randn_like(end)
    zero = torch.zeros_like(end, requires_grad=True)
    (pull,) = torch.autograd.grad(end, theta, zero, create_graph=True)
    (push,) = torch.autograd.grad(pull, zero, u, retain_graph=True)
    (back,) = torch.autograd.grad(end, theta, v)
    torch.testing.assert_close(push @ v, u @ back)
    if adjoint == "first-order":
        torch.testing.assert_close(push, u)


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("kind", [models.GaussianMLP, models.CategoricalMLP])
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_fisher_product_is_the_dense_hessian_of_the_kl(steps, kind, chunk_size):
    objective, meta, batch = random_batch(steps, tasks=3, kind=kind)
    objective = objective._replace(chunk_size=chunk_size)
    ref = reference(objective, meta, batch)
    theta, unravel = tree.ravel(meta)

    def kl(v):
        total = 0.0
        for i in range(3):
            data, old = one((batch, ref.policy), i)
            params = adapt(objective.inner, unravel(v), data.support)[-1]
            new = objective.policy(params, data.query.observations)
            total = total + masked_mean(old.kl(new), data.query.mask) / 3
        return total

    assert kl(theta) == pytest.approx(0, abs=1e-14)
    assert torch.func.grad(kl)(theta).abs().max() < 1e-12
    hessian = torch.func.hessian(kl)(theta)
    product = fisher_product(objective, meta, batch, ref)
    dense = torch.stack([product(v) for v in torch.eye(len(theta), dtype=theta.dtype)])
    torch.testing.assert_close(dense, hessian, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(dense, dense.T)


def test_fisher_product_on_a_fraction_is_that_of_the_fraction_at_the_full_path():
    """On one of four episodes: φ stays the full batch's, J and F come from the first episode."""
    objective, meta, batch = random_batch(1, tasks=2)
    ref = reference(objective, meta, batch)
    theta, unravel = tree.ravel(meta)
    product = fisher_product(objective, meta, batch, ref, fraction=0.25)
    expected, v = torch.zeros_like(theta), torch.randn_like(theta)
    for i in range(2):
        data, params = one((batch, ref.iterates[-1]), i)
        first = tree.map(lambda leaf: leaf[:1], data)
        flat, shape = tree.ravel(params)
        hessian = torch.func.hessian(
            lambda w, d=first: losses.log_likelihood(objective.policy)(
                unravel(w)["params"], d.support[0]
            )
        )(theta)
        jacobian = torch.eye(len(theta), dtype=theta.dtype) - 0.4 * hessian
        old = objective.policy(params, first.query.observations)
        fisher = torch.func.hessian(
            lambda w, d=first, s=shape, old=old: masked_mean(
                old.kl(objective.policy(s(w), d.query.observations)), d.query.mask
            )
        )(flat)
        expected += jacobian.T @ fisher @ jacobian @ v / 2
    torch.testing.assert_close(product(v), expected)
    with pytest.raises(ValueError, match="fraction"):
        fisher_product(objective, meta, batch, ref, fraction=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_chunks_and_threads_change_only_the_last_bits(dtype, tolerance):
    # Large enough for torch to use its threads: 7 x 20 x 200 steps, width 100.
    wide = {"episodes": 20, "horizon": 200, "hidden": (100,)}
    objective, meta, batch = random_batch(1, tasks=7, dtype=dtype, alpha=0.1, **wide)
    results = []
    before = torch.get_num_threads()
    for chunk_size, threads in ((None, 1), (1, 1), (3, 2), (7, 2)):
        torch.set_num_threads(threads)
        chunked = objective._replace(chunk_size=chunk_size)
        _, gradient = meta_gradient(chunked, meta, batch)
        ref = reference(chunked, meta, batch)
        product = fisher_product(chunked, meta, batch, ref, fraction=0.1)
        results.append((gradient, product(torch.ones_like(gradient))))
    torch.set_num_threads(before)
    for gradient, image in results[1:]:
        assert (gradient - results[0][0]).norm() <= tolerance * results[0][0].norm()
        assert (image - results[0][1]).norm() <= tolerance * results[0][1].norm()


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


def test_stacked_tasks_equal_one_task_at_a_time_and_n_does_not_change_a_step():
    objective, meta, batch = random_batch(2, tasks=4)
    stacked = over_tasks(lambda data: adapt(objective.inner, meta, data))(batch.support)
    for i in range(4):
        alone = adapt(objective.inner, meta, one(batch.support, i))
        for ours, theirs in zip(alone, one(stacked, i), strict=True):
            torch.testing.assert_close(ours, theirs)


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


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="step size"):
        gradient_descent(quadratic_loss, 0.0)
    with pytest.raises(ValueError, match=r"inner\.steps"):
        InnerConfig(steps=-1)
    for field in dataclasses.fields(trust_region.TrustRegion):
        with pytest.raises(ValueError, match=field.name):
            trust_region.TrustRegion(**{field.name: -1})


def test_a_module_with_buffers_is_refused():
    module = torch.nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="buffers"):
        models.parameters(module)


@pytest.mark.gpu
def test_meta_gradient_and_update_on_cuda():
    objective, meta, batch = random_batch(1, dtype=torch.float32)
    _, expected = meta_gradient(objective, meta, batch)
    there = [tree.to(x, "cuda") for x in (meta, batch)]
    _, gradient = meta_gradient(objective, *there)
    torch.testing.assert_close(gradient.cpu(), expected, rtol=1e-4, atol=1e-6)
    new, metrics = trust_region.update(objective, *there, trust_region.TrustRegion())
    assert metrics["outcome"] == "accepted"
    assert all(leaf.is_cuda for leaf in tree.leaves(new))
