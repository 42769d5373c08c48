"""The meta-objective: its gradient and its curvature, stacked over tasks in any chunks."""

import pytest
import torch
from torch import nn

from rlmaml import losses, models, tree
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import (
    Objective,
    along_iterates,
    evaluate,
    fisher_product,
    gradient_and_reference,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.outer import trust_region
from rlmaml.returns import masked_mean
from rlmaml.types import MetaBatch
from tests.helpers.problems import (
    ADJOINTS,
    SUPERVISED,
    at_end,
    end_loss,
    mean_outer_loss,
    one,
    quadratic_loss,
    quadratics,
    random_batch,
    supervised_problem,
)


def test_one_task_at_a_time_is_all_at_once():
    rows = {"a": (torch.randn(3, 4, requires_grad=True), torch.randn(3, 4))}

    def function(tree, scale):
        a, b = tree["a"]
        return {"product": (a * b).sum() * scale, "pair": (a.exp(), b)}

    scale = torch.randn(3)
    found, expected = (over_tasks(function, size)(rows, scale) for size in (1, None))
    for mine, other in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        torch.testing.assert_close(mine, other)
    a = rows["a"][0]
    gradients = [torch.autograd.grad(each["product"].sum(), a)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_gradient_and_reference_are_those_computed_alone(chunk_size):
    objective, meta, batch = random_batch(2)
    objective = objective._replace(chunk_size=chunk_size)
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    expected = (*meta_gradient(objective, meta, batch), reference(objective, meta, batch))
    found = tree.leaves((losses, gradient, ref))
    for mine, other in zip(found, tree.leaves(expected), strict=True):
        assert not mine.requires_grad
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-12)


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


ALPHA = 0.3


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


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("kind", [models.GaussianMLP, models.CategoricalMLP])
@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.slow
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
    """On a quarter: φ stays the full batch's, J is of the first episode, F of states of all."""
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
        inputs, mask = data.query.spread(0.25)
        old = objective.policy(params, inputs)
        fisher = torch.func.hessian(
            lambda w, x=inputs, m=mask, s=shape, old=old: masked_mean(
                old.kl(objective.policy(s(w), x)), m
            )
        )(flat)
        expected += jacobian.T @ fisher @ jacobian @ v / 2
    torch.testing.assert_close(product(v), expected)
    with pytest.raises(ValueError, match="fraction"):
        fisher_product(objective, meta, batch, ref, fraction=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.slow
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
        inputs, mask = data.query.spread(fraction)
        if fraction < 1:
            data = tree.map(lambda leaf: leaf[:2], data)
        jacobian = torch.eye(len(theta), dtype=theta.dtype)
        for params, extra in zip(path[:-1], data.hessian, strict=True):
            hessian = torch.func.hessian(
                lambda w, d=extra: losses.log_likelihood(objective.policy)(unravel(w)["params"], d)
            )(tree.ravel(params)[0])
            jacobian = (torch.eye(len(theta)) - 0.4 * hessian) @ jacobian
        outputs = objective.policy(path[-1], inputs)

        def kl(w, x=inputs, mask=mask, old=outputs):
            new = objective.policy(unravel(w)["params"], x)
            return (old.kl(new) * mask).sum() / mask.sum()

        fisher = torch.func.hessian(kl)(tree.ravel(path[-1])[0])
        expected += jacobian.T @ fisher @ jacobian @ v / 3
    torch.testing.assert_close(product(v), expected)


@pytest.mark.parametrize("kind", SUPERVISED)
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_meta_gradient_against_finite_differences(kind, chunk_size):
    objective, meta, batch = supervised_problem(kind)
    objective = objective._replace(chunk_size=chunk_size)
    theta, unravel = tree.ravel(meta)
    _, gradient = meta_gradient(objective, meta, batch)
    for direction in torch.randn(5, len(theta), dtype=torch.float64):
        h = 1e-5
        ahead, behind = (
            mean_outer_loss(objective, unravel(theta + sign * h * direction), batch)
            for sign in (1, -1)
        )
        assert torch.isclose(gradient @ direction, (ahead - behind) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize("kind", SUPERVISED)
def test_meta_gradient_against_an_explicit_loop(kind):
    """Plain autograd with create_graph, losses from torch.nn.functional, no vmap."""
    objective, meta, batch = supervised_problem(kind)
    names = list(meta["params"])
    theta = [value.clone().requires_grad_() for value in meta["params"].values()]

    def loss(values, data):
        weights = dict(zip(names, values, strict=True))
        root = "mean" if kind == "regression" else "logits"
        hidden = torch.tanh(data.inputs @ weights[f"{root}.0.weight"].T + weights[f"{root}.0.bias"])
        out = hidden @ weights[f"{root}.2.weight"].T + weights[f"{root}.2.bias"]
        if kind == "classification":
            return nn.functional.cross_entropy(out, data.targets)
        return nn.functional.mse_loss(out, data.targets) * out.shape[1]  # summed over outputs

    total = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        data, values = one(batch, i), theta
        for support in data.support:
            slopes = torch.autograd.grad(loss(values, support), values, create_graph=True)
            values = [v - 0.3 * s for v, s in zip(values, slopes, strict=True)]
        total = total + loss(values, data.query) / 4
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(total, theta)])
    found, gradient = meta_gradient(objective, meta, batch)
    assert torch.allclose(found.mean(), total)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", SUPERVISED)
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_fisher_product_is_the_hessian_of_the_kl(kind, adjoint):
    objective, meta, batch = supervised_problem(kind, tasks=2, adjoint=ADJOINTS[adjoint])
    theta, unravel = tree.ravel(meta)
    ref = reference(objective, meta, batch)

    def divergence(vector):
        moved = unravel(vector)

        def kl(data, old):
            params = objective.adjoint(objective.inner, moved, data.support)[-1]
            return old.kl(objective.policy(params, data.query.inputs)).mean()

        return over_tasks(kl)(batch, ref.policy).mean()

    hessian = torch.autograd.functional.hessian(divergence, theta)
    product = fisher_product(objective, meta, batch, ref)
    for v in torch.randn(3, len(theta), dtype=torch.float64):
        assert torch.allclose(product(v), hessian @ v, rtol=1e-8, atol=1e-12)


def test_along_path_is_the_loss_after_each_step():
    objective, meta, batch = supervised_problem("classification", steps=3)
    share = losses.accuracy(objective.policy)
    found = along_iterates(
        objective.inner, meta, batch, {"loss": end_loss(objective), "accuracy": share}
    )
    for i in range(4):
        data = one(batch, i)
        for k, params in enumerate(adapt(objective.inner, meta, data.support)):
            assert torch.isclose(found["loss"][i, k], end_loss(objective)(params, data.query))
            predicted = objective.policy(params, data.query.inputs).logits.argmax(-1)
            assert found["accuracy"][i, k] == (predicted == data.query.targets).float().mean()
