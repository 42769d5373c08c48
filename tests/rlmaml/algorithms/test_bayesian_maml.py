"""Bayesian MAML: SVGD against direct loops, reductions to MAML, the outer losses."""

import pytest
import torch

from rlmaml import models, tree
from rlmaml.algorithms import bayesian_maml
from rlmaml.algorithms.bayesian_maml import BayesianMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import evaluate, meta_gradient, over_tasks, reference
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import MetaBatch
from tests.helpers.particles import (
    ALPHA,
    SGD,
    SHAPE,
    acting,
    learning,
    median_bandwidth,
    on_quadratics,
    rbf,
    scattered,
    shared,
)
from tests.helpers.problems import one, quadratic_loss, quadratics

# The inner step.


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("scale", [0.3, 3.0])
@pytest.mark.parametrize("prior", [0.0, 0.7])
def test_a_step_against_a_loop_over_pairs(count, scale, prior):
    """∇k by finite differences of k, ∇log p by differentiating it."""
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": count, "prior": prior, "repulsion": 0.4})
    particles = scattered(count, scale=scale)
    x = particles["x"]
    bandwidth, step = median_bandwidth(x), 1e-6
    eye = torch.eye(5, dtype=torch.float64)
    expected = x.clone()
    for m in range(count):
        for j in range(count):
            score = -task.curvature @ (x[j] - task.center) - prior * x[j]
            gradient = torch.stack(
                [
                    (rbf(x[j] + step * e, x[m], bandwidth) - rbf(x[j] - step * e, x[m], bandwidth))
                    / (2 * step)
                    for e in eye
                ]
            )
            expected[m] += ALPHA / count * (rbf(x[j], x[m], bandwidth) * score + 0.4 * gradient)
    found = method.inner.step({}, particles, task, 0)["x"]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_particles_far_apart_go_their_own_way():
    """Where k is nearly 0, each moves by ε / M times its own gradient."""
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": 12})
    near = scattered(11)["x"]  # most pairs are near, so that one more is far in their bandwidth
    x = torch.cat([near, near[:1] + 1e3])
    moved = method.inner.step({}, {"x": x}, task, 0)["x"] - x
    torch.testing.assert_close(moved[-1], -ALPHA / 12 * task.curvature @ (x[-1] - task.center))
    assert not torch.allclose(moved[0], -ALPHA / 12 * task.curvature @ (x[0] - task.center))


def test_the_order_of_particles_does_not_matter():
    task = one(quadratics(1, 5), 0)
    method, order = on_quadratics({"particles": 4}), torch.tensor([2, 0, 3, 1])
    particles = scattered(4)
    moved = method.inner.step({}, particles, task, 0)["x"]
    again = method.inner.step({}, {"x": particles["x"][order]}, task, 0)["x"]
    torch.testing.assert_close(again, moved[order])


def test_particles_that_coincide_stay_together_and_have_derivatives():
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": 3})
    x = scattered(1)["x"].repeat(3, 1).requires_grad_()
    moved = method.inner.step({}, {"x": x}, task, 0)["x"]
    torch.testing.assert_close(moved[0], x[0] - ALPHA * task.curvature @ (x[0] - task.center))
    torch.testing.assert_close(moved, moved[:1].expand(3, -1))
    assert torch.autograd.grad(moved.square().sum(), x)[0].isfinite().all()


@pytest.mark.slow
def test_the_repulsion_draws_from_the_posterior():
    """Of a Gaussian with precision A and weight τ: variance τ / A, in one dimension."""
    task = one(quadratics(1, 1), 0)
    settings = {"particles": 40, "repulsion": 0.5}
    method = BayesianMAML(
        lambda params, inputs: params["x"],
        InnerConfig(step_size=ALPHA),
        settings=BayesianMAML.Settings(**settings),
        inner_loss=shared(quadratic_loss),
    )
    particles = {"x": torch.linspace(-0.1, 0.1, 40, dtype=torch.float64)[:, None]}
    for _ in range(2000):
        particles = method.inner.step({}, particles, task, 0)
    x = particles["x"]
    assert x.mean().item() == pytest.approx(task.center.item(), abs=0.02)
    assert x.var().item() == pytest.approx(0.5 / task.curvature.item(), rel=0.15)


# One particle, a flat prior and the query loss are MAML.


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("outer", [SGD, TrustRegion()])
def test_one_particle_is_maml_on_examples(kind, steps, outer):
    torch.manual_seed(0)
    alone = {"particles": 1, "loss": "query"}
    bayesian, params, batch = learning(kind, settings=alone, steps=steps, outer=outer)
    torch.manual_seed(0)
    plain, *_ = learning(kind, method=MAML, steps=steps, outer=outer)
    found, metrics = bayesian.update(bayesian.init(params), batch)
    expected, theirs = plain.update(plain.init(params), batch)
    assert metrics["outcome"] == theirs["outcome"] == "accepted"
    assert metrics["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-12)
    # Conjugate gradients take the last bits further.
    close = {"rtol": 1e-12, "atol": 1e-12} if outer is SGD else {"rtol": 1e-4, "atol": 1e-7}
    for name, value in expected.meta["params"].items():
        torch.testing.assert_close(found.meta["params"][name][0], value, **close)


@pytest.mark.parametrize("surrogate", ["log-likelihood", "lvc", "dice"])
def test_one_particle_is_maml_on_episodes(surrogate):
    method, meta, batch = acting(1, inner=InnerConfig(step_size=ALPHA, surrogate=surrogate))
    params = method.network(meta["params"])
    module = models.GaussianMLP(3, 2, SHAPE)
    plain = MAML(models.functional(module), method.inner_config)
    one_state, other = method.initial_state(meta), plain.init(params)
    _, found = meta_gradient(method.objective(one_state), meta, batch)
    _, expected = meta_gradient(plain.objective(other), other.meta, batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    (one_state, metrics), (other, theirs) = (
        made.update(state, batch) for made, state in ((method, one_state), (plain, other))
    )
    assert metrics["outcome"] == theirs["outcome"] == "accepted"
    # Conjugate gradients take the last bits further.
    ends = [tree.ravel(state.meta)[0] for state in (one_state, other)]
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)


# The outer loss.


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 2])
def test_the_chaser_loss_of_one_particle_in_closed_form(steps, ahead):
    """The leader goes on with the mean of both losses: a quadratic again."""
    support, query = quadratics(4, 5, seed=1), quadratics(4, 5, seed=2)
    settings = {"particles": 1, "loss": "chaser", "leader_steps": ahead}
    method = on_quadratics(settings, steps)
    meta = method.init_meta({"x": torch.randn(5, dtype=torch.float64)})
    found, gradient = meta_gradient(
        method.objective(method.initial_state(meta)), meta, MetaBatch((support,) * steps, query)
    )
    theta, eye = meta["params"]["x"][0], torch.eye(5, dtype=torch.float64)
    total, values = torch.zeros(5, dtype=torch.float64), []
    for i in range(4):
        d, o = one(support, i), one(query, i)
        power = eye
        for _ in range(steps):
            power = (eye - ALPHA * d.curvature) @ power
        end = leader = d.center + power @ (theta - d.center)
        sets = (d, o) if steps else (o,)
        for _ in range(ahead):
            slopes = [s.curvature @ (leader - s.center) for s in sets]
            leader = leader - ALPHA * torch.stack(slopes).mean(0)
        values.append((end - leader).square().sum())
        total += 2 * power.T @ (end - leader) / 4
    torch.testing.assert_close(found, torch.stack(values))
    torch.testing.assert_close(gradient, total)


def by_finite_differences(function, meta, step=1e-6):
    theta, unravel = tree.ravel(meta)
    directions = torch.eye(len(theta), dtype=theta.dtype)[:: max(1, len(theta) // 12)]
    for direction in directions:
        up, down = (function(unravel(theta + sign * step * direction)) for sign in (1, -1))
        yield direction, ((up - down) / (2 * step)).item()


@pytest.fixture
def fixed_bandwidth(monkeypatch):
    """The bandwidth counts as a constant, so for finite differences it is one."""
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: 0.5 * torch.ones_like(d[0, 0]))


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.usefixtures("fixed_bandwidth")
def test_the_query_loss_by_finite_differences(kind):
    settings = {"particles": 3, "repulsion": 0.3, "prior": 0.1}
    method, params, batch = learning(kind, settings=settings)
    meta = near(method.init_meta(params))
    objective = method.objective(method.initial_state(meta))
    _, gradient = meta_gradient(objective, meta, batch)
    ref = reference(objective, meta, batch)
    for direction, slope in by_finite_differences(
        lambda m: evaluate(objective, m, batch, ref)[0].mean(), meta
    ):
        assert slope == pytest.approx((gradient @ direction).item(), abs=1e-7)


@pytest.mark.usefixtures("fixed_bandwidth")
def test_the_chaser_loss_by_finite_differences():
    """With the leader where it is."""
    settings = {"particles": 3, "loss": "chaser", "leader_steps": 2, "repulsion": 0.3}
    method, params, batch = learning(settings=settings)
    meta = near(method.init_meta(params))
    found, gradient = meta_gradient(method.objective(method.initial_state(meta)), meta, batch)
    union = tree.map(lambda a, b: torch.cat([a, b], 1), batch.support[0], batch.query)
    everything = batch._replace(support=(*batch.support, union, union))
    leaders = over_tasks(lambda d: adapt(method.inner, meta, d.support)[-1])(everything)

    def distance(m):
        ends = over_tasks(lambda d: adapt(method.inner, m, d.support)[-1])(batch)
        gaps = tree.map(lambda a, b: (a - b).square().flatten(1).sum(1), ends, leaders)
        return sum(tree.leaves(gaps)).mean()

    torch.testing.assert_close(found.mean(), distance(meta))
    assert found.mean() > 1e-3
    for direction, slope in by_finite_differences(distance, meta):
        assert slope == pytest.approx((gradient @ direction).item(), abs=1e-7)


def near(meta):
    """Particles near enough to each other for the kernel to matter."""
    return tree.map(lambda x: x[:1] + 0.1 * torch.randn_like(x), meta)


def test_the_bandwidth_is_taken_for_a_constant(monkeypatch):
    task, method = one(quadratics(1, 5), 0), on_quadratics({"particles": 4, "repulsion": 3.0})
    particles, weights = scattered(), torch.randn(4, 5, dtype=torch.float64)

    def slope():
        return torch.func.grad(lambda p: (method.inner.step({}, p, task, 0)["x"] * weights).sum())(
            particles
        )["x"]

    found, value = slope(), median_bandwidth(particles["x"])
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: torch.full_like(d[0, 0], value))
    torch.testing.assert_close(found, slope())
