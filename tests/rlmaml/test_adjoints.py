"""Derivatives of adaptation that need no graph of it: HF-MAML and iMAML."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from rlmaml import losses, models, tree
from rlmaml.adjoints import first_order, hessian_free, implicit, unrolled
from rlmaml.inner import adapt, gradient_descent
from rlmaml.linalg import conjugate_gradient
from rlmaml.objective import (
    Objective,
    fisher_product,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.types import Examples, InnerLoop, MetaBatch
from tests.helpers.problems import (
    Cosine,
    at_end,
    cosine_gradient,
    cosine_hessian,
    cosine_loss,
    cosines,
    end_loss,
    one,
    quadratic_loss,
    quadratics,
    random_batch,
    supervised_problem,
)

ALPHA = 0.3


X = torch.linspace(-1, 1, 5, dtype=torch.float64)


META = {"params": {"x": X}}


def proximal_descent(loss, step_size, strength):
    """φ_{k+1} = φ_k - α [∇L(φ_k, D_k) + λ (φ_k - θ)], from φ_0 = θ."""

    def step(meta, params, data, k):
        gradient = torch.func.grad(loss)(params, data)
        return tree.map(
            lambda p, g, theta: p - step_size * (g + strength * (p - theta)),
            params,
            gradient,
            meta["params"],
        )

    return InnerLoop(lambda meta: meta["params"], step)


def error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def cosine_problem(steps, separate_hessian=False):
    """Other tasks for every step, its derivative and the outer loss, so that none can stand in."""
    support = tuple(cosines(4, 5, seed=k) for k in range(steps))
    hessian = tuple(cosines(4, 5, seed=10 + k) for k in range(steps)) if separate_hessian else ()
    batch = MetaBatch(support, cosines(4, 5, seed=99), hessian)
    return Objective(
        gradient_descent(cosine_loss, ALPHA), unrolled, at_end(cosine_loss), None
    ), batch


@pytest.mark.parametrize("separate_hessian", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_hessian_free_on_cosines_in_closed_form(steps, separate_hessian):
    """At any δ: [sin(d + δv) - sin(d - δv)] / 2δ = cos d · sin(δv) / δ."""
    shift = 0.7
    objective, batch = cosine_problem(steps, separate_hessian)
    objective = objective._replace(adjoint=hessian_free(cosine_loss, ALPHA, shift=shift))
    _, found = meta_gradient(objective, META, batch)
    expected = torch.zeros_like(X)
    for i in range(4):
        data = one(batch, i)
        path = [X]
        for task in data.support:
            path.append(path[-1] - ALPHA * cosine_gradient(path[-1], task))
        v = cosine_gradient(path[-1], data.query)
        for x, task in reversed([*zip(path[:-1], data.hessian or data.support, strict=True)]):
            delta = shift / v.norm()
            v = v - ALPHA * cosine_hessian(x, task) * (delta * v).sin() / delta
        expected += v / 4
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_hessian_free_is_exact_on_quadratics(steps):
    """However large the shift; with a matrix of its own at every step."""
    support, query = tuple(quadratics(4, 5, seed=k) for k in range(steps)), quadratics(4, 5, 99)
    objective = Objective(
        gradient_descent(quadratic_loss, ALPHA),
        hessian_free(quadratic_loss, ALPHA, shift=2.0),
        at_end(quadratic_loss),
        None,
    )
    _, found = meta_gradient(objective, META, MetaBatch(support, query))
    expected = torch.zeros_like(X)
    for i in range(4):
        x, jacobian = X, torch.eye(5, dtype=torch.float64)
        for task in (one(data, i) for data in support):
            x = x - ALPHA * task.curvature @ (x - task.center)
            jacobian = (torch.eye(5, dtype=torch.float64) - ALPHA * task.curvature) @ jacobian
        task = one(query, i)
        expected += jacobian.T @ task.curvature @ (x - task.center) / 4
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("separate_hessian", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_error_of_hessian_free_is_of_second_order(steps, separate_hessian):
    objective, batch = cosine_problem(steps, separate_hessian)
    _, exact = meta_gradient(objective, META, batch)
    errors = []
    for shift in (0.2, 0.1, 0.05, 0.025):
        adjoint = hessian_free(cosine_loss, ALPHA, shift=shift)
        _, found = meta_gradient(objective._replace(adjoint=adjoint), META, batch)
        errors.append(error(found, exact))
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([2, 2, 2], abs=0.01)


def test_all_tensors_share_one_delta():
    """v is 1000 times smaller in one tensor: a δ of its own would move it 1000 times as far."""
    task, scales = one(cosines(1, 5), 0), torch.tensor([1.0, 1, 1, 1e-3, 1e-3]).double()
    shift = 0.7

    def loss(params, data):
        return cosine_loss({"x": torch.cat([params["a"].flatten(), params["b"]])}, data)

    meta = {"params": {"a": X[:3].view(3, 1).requires_grad_(), "b": X[3:].requires_grad_()}}
    inner = gradient_descent(loss, ALPHA)
    end = hessian_free(loss, ALPHA, shift=shift)(inner, meta, (task,))[-1]
    found = torch.autograd.grad(tree.ravel(end)[0] @ scales, tree.leaves(meta))
    delta = shift / scales.norm()
    expected = scales - ALPHA * cosine_hessian(X, task) * (delta * scales).sin() / delta
    torch.testing.assert_close(tree.ravel(found)[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "adjoint", [hessian_free(cosine_loss, ALPHA), implicit(cosine_loss, 2.0, iterations=20)]
)
def test_a_zero_cotangent_comes_back_as_zero(adjoint):
    """That of one task among others, whose outer loss is flat."""
    objective, batch = cosine_problem(2)
    objective = objective._replace(adjoint=adjoint)
    flat = batch.query._replace(scale=torch.tensor([0.0, 1, 1, 1]).double())
    _, found = meta_gradient(objective, META, batch._replace(query=flat))
    rest = tree.map(lambda leaf: leaf[1:], batch._replace(query=flat))
    _, expected = meta_gradient(objective, META, rest)
    torch.testing.assert_close(found, expected * 3 / 4)
    alone = tree.map(lambda leaf: leaf[:1], batch._replace(query=flat))
    assert torch.equal(meta_gradient(objective, META, alone)[1], torch.zeros_like(X))


def test_the_published_delta_is_a_shift_and_keeps_its_bound():
    task = Cosine(torch.tensor(1.3).double(), torch.zeros(5).double())
    inner, x = gradient_descent(cosine_loss, ALPHA), X.clone().requires_grad_()
    vectors = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).double()

    def pull(adjoint, v):
        return torch.autograd.grad(adjoint(inner, {"params": {"x": x}}, (task,))[-1]["x"], x, v)[0]

    published = hessian_free(cosine_loss, ALPHA, hessian_lipschitz=1.3)
    same = hessian_free(cosine_loss, ALPHA, shift=1 / (6 * 1.3 * ALPHA))
    for v in vectors:
        torch.testing.assert_close(pull(published, v), pull(same, v))
        assert 0 < (pull(published, v) - pull(unrolled, v)).norm() < v.norm() / 12


@pytest.mark.parametrize("kind", [models.GaussianMLP, models.CategoricalMLP])
@pytest.mark.parametrize(("dtype", "reached"), [(torch.float32, 2e-4), (torch.float64, 1e-9)])
def test_the_default_shift_is_accurate_on_a_network(kind, dtype, reached):
    """3e-5 and 1e-4 were seen in float32, 4e-11 and 2e-10 in float64; first order misses half."""
    objective, meta, batch = random_batch(2, kind=kind, hidden=(30, 30))
    _, exact = meta_gradient(objective, meta, batch)
    _, first = meta_gradient(objective._replace(adjoint=first_order), meta, batch)
    assert error(first, exact) > 0.3
    adjoint = hessian_free(losses.log_likelihood(objective.policy), 0.4)
    _, found = meta_gradient(
        objective._replace(adjoint=adjoint),
        *tree.map(lambda leaf: leaf.to(dtype), (meta, batch)),
    )
    assert found.dtype == dtype
    assert error(found.double(), exact) < reached


@pytest.mark.parametrize("steps", [1, 3])
def test_implicit_on_quadratics_in_closed_form(steps):
    strength = 0.5
    support, query = quadratics(4, 5), quadratics(4, 5, seed=99)
    inner = proximal_descent(quadratic_loss, ALPHA, strength)
    objective = Objective(
        inner, implicit(quadratic_loss, strength, iterations=8), at_end(quadratic_loss), None
    )
    _, found = meta_gradient(objective, META, MetaBatch((support,) * steps, query))
    expected = torch.zeros_like(X)
    for i in range(4):
        end, task = adapt(inner, META, (one(support, i),) * steps)[-1]["x"], one(query, i)
        matrix = torch.eye(5, dtype=torch.float64) + one(support, i).curvature / strength
        expected += torch.linalg.solve(matrix, task.curvature @ (end - task.center)) / 4
    torch.testing.assert_close(found, expected)


def test_implicit_at_every_step_of_the_path():
    """(I + ∇²L(φ_k, D_{k-1})/λ)⁻¹ at its own value and its own data; φ_0 is θ."""
    strength, tasks = 2.0, tuple(one(cosines(1, 5, seed=k), 0) for k in range(3))
    inner = proximal_descent(cosine_loss, ALPHA, strength)
    adjoint = implicit(cosine_loss, strength, iterations=5)
    values = adapt(inner, META, tasks)
    jacobians = torch.func.jacrev(
        lambda x: tuple(params["x"] for params in adjoint(inner, {"params": {"x": x}}, tasks))
    )(X)
    assert torch.equal(jacobians[0], torch.eye(5, dtype=torch.float64))
    for k in (1, 2, 3):
        hessian = cosine_hessian(values[k]["x"], tasks[k - 1])
        torch.testing.assert_close(jacobians[k], torch.diag(1 / (1 + hessian / strength)))


def regression(dtype=torch.float64):
    """A network, its squared error as inner and outer loss, and a batch of 3 tasks."""
    module = models.RegressionMLP(2, 1, models.PolicyConfig(hidden=(6,), activation="tanh"))
    policy = models.functional(module.to(dtype))
    rng = torch.Generator().manual_seed(0)
    sets = [
        Examples(torch.randn(3, 8, 2, generator=rng), torch.randn(3, 8, 1, generator=rng))
        for _ in range(2)
    ]
    data = tree.map(lambda leaf: leaf.to(dtype), tuple(sets))
    return losses.mse(policy), policy, {"params": models.parameters(module)}, data


def test_implicit_is_the_limit_of_unrolled_proximal_steps():
    """Both on a network and on cosines, where the Hessian depends on where it is taken."""
    mse, _, network, examples = regression()
    problems = [
        (cosine_loss, META, [cosines(4, 5), cosines(4, 5, seed=99)], 0.3, 2.0),
        (mse, network, examples, 0.08, 5.0),
    ]
    for loss, meta, (support, query), step_size, strength in problems:
        inner = proximal_descent(loss, step_size, strength)
        batch = MetaBatch((support,) * 80, query)
        objective = Objective(inner, unrolled, at_end(loss), None)
        values, expected = meta_gradient(objective, meta, batch)
        ours = objective._replace(adjoint=implicit(loss, strength, iterations=25))
        found_values, found = meta_gradient(ours, meta, batch)
        torch.testing.assert_close(found_values, values)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
        first = meta_gradient(objective._replace(adjoint=first_order), meta, batch)[1]
        assert error(first, expected) > 0.1


def test_one_iteration_is_a_step_of_steepest_descent():
    """x = (v·v / v·Av) v: as many iterations as asked for, and no more."""
    task, strength, x = one(quadratics(1, 5), 0), 0.5, X.clone().requires_grad_()
    adjoint = implicit(quadratic_loss, strength, iterations=1)
    inner = proximal_descent(quadratic_loss, ALPHA, strength)
    v = X + 0.3
    end = adjoint(inner, {"params": {"x": x}}, (task,))[-1]["x"]
    curvature = v @ v + v @ task.curvature @ v / strength
    torch.testing.assert_close(torch.autograd.grad(end, x, v)[0], (v @ v) / curvature * v)


@pytest.mark.parametrize("tolerance", [0.1, 1e-20])
@pytest.mark.parametrize("iterations", [1, 3, 12])
def test_conjugate_gradient_under_vmap_is_that_of_each_alone(iterations, tolerance):
    """One has b = 0, one is solved at once, one is not positive: what has stopped stays."""
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    indefinite = torch.diag(torch.tensor([3.0, 2, 1, -1]).double())
    matrices = torch.stack([root @ root.T] * 2 + [2 * torch.eye(4).double(), indefinite])
    b = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    b[0] = 0
    b[3] = torch.tensor([2.0, 1, 1, 0.5])

    def solve(matrix, b, early):
        return conjugate_gradient(
            lambda v: matrix @ v, b, iterations=iterations, tolerance=tolerance, early=early
        )

    stacked = over_tasks(lambda *system: solve(*system, False)[0])(matrices, b)
    alone = [solve(*system, True) for system in zip(matrices, b, strict=True)]
    torch.testing.assert_close(stacked, torch.stack([x for x, _ in alone]))
    assert alone[3][1] == min(iterations, 3)  # stopped midway, its x no solution


def test_conjugate_gradient_can_outlast_its_convergence():
    """At a tolerance of 0 the residual is 0 or as good as that, and so are the steps."""
    b = torch.linspace(1, 2, 6)
    for a in (torch.full((6,), 2.0), b):
        x, spent = conjugate_gradient(
            lambda v, a=a: a * v, b, iterations=200, tolerance=0, early=False
        )
        assert spent == 200
        torch.testing.assert_close(x, b / a)


def test_implicit_refuses_hessian_data():
    task = one(cosines(1, 5), 0)
    inner = proximal_descent(cosine_loss, ALPHA, 1.0)
    with pytest.raises(ValueError, match="Hessian data"):
        implicit(cosine_loss, 1.0)(inner, META, (task,), (task,))


STRENGTH = 8.0  # above the negative curvature of the log-likelihood surrogate here, 4


ADJOINTS = ["unrolled", "first-order", "hessian-free", "implicit"]


def cases(steps, dtype=torch.float64):
    """Objectives on a network, one per adjoint, with the tolerance of J being linear."""
    objective, meta, batch = random_batch(steps, dtype=dtype, alpha=0.2)
    loss = losses.log_likelihood(objective.policy)
    proximal = objective._replace(inner=proximal_descent(loss, 0.05, STRENGTH))
    return (
        meta,
        batch,
        {
            "unrolled": (objective, 1e-12),
            "first-order": (objective._replace(adjoint=first_order), 1e-12),
            # J differs from a symmetric matrix by the error of the differences: 1e-12 was seen.
            "hessian-free": (objective._replace(adjoint=hessian_free(loss, 0.2)), 1e-10),
            "implicit": (proximal._replace(adjoint=implicit(loss, STRENGTH, iterations=40)), 1e-10),
        },
    )


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_push_and_pull_are_transposes(adjoint, steps):
    """⟨J u, v⟩ = ⟨u, Jᵀ v⟩, with J u by the double-reverse trick of `fisher_product`."""
    meta, batch, objectives = cases(steps)
    objective, tolerance = objectives[adjoint]
    data = one(batch, 0)
    theta, unravel = tree.ravel(meta)
    theta = theta.detach().requires_grad_()
    end = tree.ravel(objective.adjoint(objective.inner, unravel(theta), data.support)[-1])[0]
    rng = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, len(theta), generator=rng, dtype=torch.float64)
    zero = torch.zeros_like(end, requires_grad=True)
    (pull,) = torch.autograd.grad(end, theta, zero, create_graph=True)
    (push,) = torch.autograd.grad(pull, zero, u, retain_graph=True)
    (back,) = torch.autograd.grad(end, theta, v)
    assert (push @ v - u @ back).abs() < tolerance * push.norm() * v.norm()
    if adjoint != "first-order":
        assert error(push, u) > 0.01


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_meta_gradient_is_that_of_a_loop_over_tasks(adjoint, steps, chunk_size):
    meta, batch, objectives = cases(steps)
    objective = objectives[adjoint][0]._replace(chunk_size=chunk_size)
    values, found = meta_gradient(objective, meta, batch)
    theta, unravel = tree.ravel(meta)
    theta = theta.detach().requires_grad_()
    total = torch.zeros_like(theta)
    for i in range(5):
        data = one(batch, i)
        path = objective.adjoint(objective.inner, unravel(theta), data.support)
        expected_path = adapt(objective.inner, meta, data.support)
        torch.testing.assert_close(path[-1], expected_path[-1], rtol=1e-13, atol=1e-13)
        value = objective.outer_loss(path, data)
        torch.testing.assert_close(values[i], value.detach())
        total += torch.autograd.grad(value, theta)[0] / 5
    # Sums in another order move the gradients of the differences, by 1e-16 / h.
    torch.testing.assert_close(found, total, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("steps", [1, 2])
def test_fisher_product_of_hessian_free_is_that_of_unrolled(steps, chunk_size):
    meta, batch, objectives = cases(steps)
    products = []
    for adjoint in ("unrolled", "hessian-free"):
        objective = objectives[adjoint][0]._replace(chunk_size=chunk_size)
        ref = reference(objective, meta, batch)
        v = torch.linspace(-1, 1, len(tree.ravel(meta)[0]), dtype=torch.float64)
        whole = fisher_product(objective, meta, batch, ref)(v)
        part = fisher_product(objective, meta, batch, ref, fraction=0.5)(v)
        products.append(torch.stack([whole, part]))
    assert error(products[1], products[0]) < 1e-8


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_fisher_product_of_implicit_is_the_dense_one(chunk_size):
    """mean_i Jᵀ F J, with J a matrix inverted and F that of the adapted policy (`steps` 0)."""
    meta, batch, objectives = cases(2)
    objective = objectives["implicit"][0]._replace(chunk_size=chunk_size)
    loss = losses.log_likelihood(objective.policy)
    found = fisher_product(objective, meta, batch, reference(objective, meta, batch))
    theta, unravel = tree.ravel(meta)
    v = torch.linspace(-1, 1, len(theta), dtype=torch.float64)
    expected = torch.zeros_like(v)
    for i in range(5):
        alone, data = tree.map(lambda leaf, i=i: leaf[i : i + 1], batch), one(batch, i)
        end = adapt(objective.inner, meta, data.support)[-1]
        hessian = torch.func.hessian(lambda w, d=data: loss(unravel(w)["params"], d.support[-1]))(
            tree.ravel(end)[0]
        )
        jacobian = torch.linalg.inv(torch.eye(len(v), dtype=v.dtype) + hessian / STRENGTH)
        there, still = {"params": end}, alone._replace(support=())
        fisher = fisher_product(objective, there, still, reference(objective, there, still))
        expected += jacobian.T @ fisher(jacobian @ v) / 5
    torch.testing.assert_close(found(v), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_all_run_in_float32(adjoint):
    meta, batch, objectives = cases(2)
    objective = objectives[adjoint][0]
    _, exact = meta_gradient(objective, meta, batch)
    small = tree.map(lambda leaf: leaf.float(), (meta, batch))
    _, found = meta_gradient(objective, *small)
    product = fisher_product(objective, *small, reference(objective, *small))
    assert found.dtype == product(found).dtype == torch.float32
    assert error(found.double(), exact) < 1e-4


def operations(tensor):
    """The names of all nodes of its graph."""
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return [node.name() for node in seen]


def test_adaptation_keeps_no_graph():
    """Of all networks evaluated only the last, φ_K's on the query, can be walked back through; and
    HF-MAML spends one gradient a step ahead and two back."""
    mse, _, meta, (support, query) = regression()
    calls = 0

    def loss(params, data):
        nonlocal calls
        calls += 1
        return mse(params, data)

    meta = tree.map(lambda leaf: leaf.requires_grad_(), meta)

    def outer(adjoint, inner):
        path = adjoint(inner, meta, (one(support, 0),) * 5)
        return mse(path[-1], one(query, 0))

    descent, proximal = gradient_descent(loss, 0.1), proximal_descent(loss, 0.1, 5.0)
    networks = {
        name: operations(outer(adjoint, inner)).count("TanhBackward0")
        for name, adjoint, inner in [
            ("unrolled", unrolled, descent),
            ("hessian-free", hessian_free(loss, 0.1), descent),
            ("implicit", implicit(loss, 5.0), proximal),
        ]
    }
    assert networks["unrolled"] > 5
    assert networks["hessian-free"] == networks["implicit"] == 1
    calls = 0
    value = outer(hessian_free(loss, 0.1), descent)
    assert calls == 5
    torch.autograd.grad(value, tree.leaves(meta))
    assert calls == 15


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: hessian_free(cosine_loss, 0.0), "step_size"),
        (lambda: hessian_free(cosine_loss, 0.1, shift=0.0), "shift"),
        (lambda: hessian_free(cosine_loss, 0.1, hessian_lipschitz=-1.0), "hessian_lipschitz"),
        (lambda: hessian_free(cosine_loss, 0.1, shift=1.0, hessian_lipschitz=1.0), "both"),
        (lambda: implicit(cosine_loss, 0.0), "strength"),
        (lambda: implicit(cosine_loss, 1.0, iterations=0), "iterations"),
    ],
)
def test_bad_sizes_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


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


EXACT = {"unrolled": unrolled, "first-order": first_order}


@pytest.mark.parametrize("adjoint", EXACT)
@pytest.mark.parametrize("steps", [1, 2])
def test_pushing_forward_is_the_transpose_of_pulling_back(adjoint, steps):
    """⟨J u, v⟩ = ⟨u, Jᵀ v⟩, with J u by the double-reverse trick of `fisher_product`."""
    objective, meta, batch = random_batch(steps, tasks=1)
    data = one(batch, 0)
    theta, unravel = tree.ravel(meta)
    theta.requires_grad_()
    end = tree.ravel(EXACT[adjoint](objective.inner, unravel(theta), data.support)[-1])[0]
    u, v = torch.randn_like(theta), torch.randn_like(end)
    zero = torch.zeros_like(end, requires_grad=True)
    (pull,) = torch.autograd.grad(end, theta, zero, create_graph=True)
    (push,) = torch.autograd.grad(pull, zero, u, retain_graph=True)
    (back,) = torch.autograd.grad(end, theta, v)
    torch.testing.assert_close(push @ v, u @ back)
    if adjoint == "first-order":
        torch.testing.assert_close(push, u)


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


def test_first_order_is_exact_where_the_hessian_vanishes():
    """An inner loss that is linear in the parameters has no curvature to ignore."""
    batch = supervised_problem("regression")[2]
    linear = nn.Linear(3, 2).double()
    policy = models.functional(linear)

    def correlation(params, data):
        return -(policy(params, data.inputs) * data.targets).sum(-1).mean()

    def squared(params, data):
        return (policy(params, data.inputs) - data.targets).square().sum(-1).mean()

    meta = {"params": models.parameters(linear)}
    gradients = {}
    for name, loss in (("flat", correlation), ("curved", squared)):
        for adjoint in (unrolled, first_order):
            flat = Objective(gradient_descent(loss, 0.3), adjoint, at_end(squared), policy)
            gradients[name, adjoint] = meta_gradient(flat, meta, batch)[1]
    assert torch.allclose(gradients["flat", unrolled], gradients["flat", first_order], rtol=1e-12)
    assert not torch.allclose(gradients["curved", unrolled], gradients["curved", first_order])
