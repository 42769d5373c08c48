"""Alpha-MAML: the published updates, hypergradients by finite differences, its state."""

import pytest
import torch

from rlmaml import tree
from rlmaml.algorithms.alpha_maml import AlphaMAML, descended
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from tests.helpers.problems import one, quadratic_loss
from tests.helpers.step_sizes import (
    ALPHA,
    assert_all_moved,
    assert_is_maml,
    assert_resumes,
    assert_same,
    assert_slopes,
    iteration_on_episodes,
    mean_loss,
    on_episodes,
    on_quadratics,
)

RATES = AlphaMAML.Settings(alpha_rate=1e-3, beta_rate=1e-4)
OPTIMIZERS = [
    Optimizer("SGD", 0.1),
    Optimizer("SGD", 0.1, {"momentum": 0.9, "weight_decay": 0.1}),
    Optimizer("Adam", 0.01),
    Optimizer("AdamW", 0.01, {"weight_decay": 0.1}),
    Optimizer("Adam", 0.01, clip_norm=0.1),
]


def run(method, state, batch, updates):
    """The states and metrics of so many updates, each with a copy of its meta-parameters."""
    states, lines = [state], []
    for _ in range(updates):
        state, metrics = method.update(state, batch)
        states.append(state)
        lines.append(metrics)
    return states, lines


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
def test_rates_that_hold_still_are_maml(make):
    settings = AlphaMAML.Settings(alpha_rate=0, beta_rate=0)
    (method, state), (plain, start), batch = assert_is_maml(AlphaMAML, make, settings)
    for _ in range(3):
        state, start = method.update(state, batch)[0], plain.update(start, batch)[0]
    for name, value in start.meta["params"].items():
        torch.testing.assert_close(state.meta["params"][name], value, rtol=0, atol=1e-12)


def test_the_published_updates_with_one_step_and_sgd():
    """α += α̂ mean⟨∇f(w'), ∇f(w)⟩, β += β̂⟨g, g'⟩, w -= β g, written out on quadratics."""
    method, state, batch = on_quadratics(AlphaMAML, RATES)
    found, lines = run(method, state, batch, 6)
    w, alpha, beta, last = state.meta["params"]["x"], ALPHA, 0.1, torch.zeros(5).double()
    for done, metrics in zip(found[1:], lines, strict=True):
        g, product = torch.zeros_like(w), 0.0
        for i in range(4):
            task = one(batch.query, i)
            inner = task.curvature @ (w - task.center)
            outer = task.curvature @ (w - alpha * inner - task.center)
            g = g + (outer - alpha * task.curvature @ outer) / 4
            product += (outer @ inner).item() / 4
        assert metrics["alpha"] == pytest.approx(alpha, rel=1e-12)
        alpha += 1e-3 * product
        beta += 1e-4 * (g @ last).item()
        w, last = w - beta * g, g
        torch.testing.assert_close(done.meta["params"]["x"], w, rtol=1e-11, atol=1e-11)
        assert done.meta["rates"]["alpha"].item() == pytest.approx(alpha, rel=1e-11)
        assert metrics["beta"] == done.outer.beta == pytest.approx(beta, rel=1e-11)
    assert alpha != pytest.approx(ALPHA, rel=1e-3)
    assert beta != pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
@pytest.mark.parametrize("steps", [1, 3])
def test_alphas_hypergradient_by_finite_differences(make, steps):
    method, state, batch = make(AlphaMAML, steps=steps)
    assert_slopes(method.objective(state), state.meta, batch)


@pytest.mark.parametrize("outer", OPTIMIZERS, ids=str)
def test_betas_hypergradient_by_finite_differences(outer):
    """Of F after the second step, by that step's own β, for optimizers with and without memory."""
    losses, slope, step = [], None, 1e-6
    for nudge in (0, step, -step):
        torch.manual_seed(0)
        method, state, batch = on_quadratics(
            AlphaMAML, AlphaMAML.Settings(alpha_rate=0, beta_rate=0), steps=2, outer=outer
        )
        state, _ = method.update(state, batch)
        state = state._replace(outer=state.outer._replace(beta=outer.learning_rate + nudge))
        state, _ = method.update(state, batch)
        losses.append(mean_loss(method.objective(state), state.meta, batch).item())
        if not nudge:
            slope = method.update(state, batch)[1]["beta/gradient"]
    assert abs(slope) > 1e-4
    assert slope == pytest.approx((losses[1] - losses[2]) / (2 * step), rel=1e-6)


def test_alpha_stands_where_it_is_looked_for_whatever_the_order():
    """A checkpoint file sorts by name."""
    method, state, batch = on_quadratics(AlphaMAML, RATES)
    meta = {"rates": state.meta["rates"], "params": state.meta["params"]}
    other, _ = method.update(method.initial_state(meta), batch)
    expected, _ = method.update(state, batch)
    assert_same(other.meta, expected.meta)
    assert torch.equal(other.meta["rates"]["alpha"], expected.meta["rates"]["alpha"])


def test_neither_rate_leaves_a_factor_of_two_in_one_update():
    assert descended(0.1, 1.0, 0.02) == pytest.approx(0.08)
    assert descended(0.1, 1.0, 0.2) == 0.05
    assert descended(0.1, -1.0, 0.2) == 0.2
    method, state, batch = on_quadratics(AlphaMAML, AlphaMAML.Settings(1e6, 1e6))
    for done in run(method, state, batch, 4)[0]:
        assert done.meta["rates"]["alpha"] > 0
        assert done.outer.beta > 0


@pytest.mark.slow
def test_both_rates_grow_where_they_are_too_small():
    method, state, batch = on_quadratics(
        AlphaMAML, AlphaMAML.Settings(1e-2, 1e-3), outer=Optimizer("SGD", 1e-3)
    )
    states, lines = run(method, state, batch, 200)
    assert states[-1].outer.beta > 0.01
    plain, start, _ = on_quadratics(AlphaMAML, AlphaMAML.Settings(0, 0))
    start = start._replace(meta=state.meta, outer=start.outer._replace(beta=1e-3))
    assert lines[-1]["loss"] < 0.9 * run(plain, start, batch, 200)[1][-1]["loss"]


def test_a_gradient_that_is_not_finite_changes_nothing():
    method, state, batch = on_quadratics(AlphaMAML, RATES)
    state, _ = method.update(state, batch)
    beta, direction = state.outer.beta, state.outer.direction.clone()
    meta = tree.map(torch.clone, state.meta)
    broken = tree.map(lambda leaf: leaf * float("nan"), batch)
    state, metrics = method.update(state, broken)
    assert metrics["outcome"] == "gradient not finite"
    assert_same(state.meta, meta)
    assert state.meta["rates"]["alpha"] == meta["rates"]["alpha"]
    assert state.outer.beta == beta
    assert torch.equal(state.outer.direction, direction)


@pytest.mark.parametrize("outer", OPTIMIZERS, ids=str)
def test_saved_and_restored(outer):
    method, state, batch = on_quadratics(AlphaMAML, RATES, outer=outer)
    assert_resumes(method, state, batch)


def test_on_episodes():
    settings = AlphaMAML.Settings(1e-3, 1e-3)
    before, new, metrics = iteration_on_episodes(AlphaMAML, None, settings)
    assert metrics["outcome"] == "accepted"
    assert_all_moved(before, new.meta)


def test_the_gradient_of_params_is_that_of_the_objective():
    """With one quadratic task, by autograd through a step written out."""
    method, state, batch = on_quadratics(AlphaMAML)
    theta = state.meta["params"]["x"].clone().requires_grad_()
    total = 0.0
    for i in range(4):
        task = one(batch.query, i)
        inner = task.curvature @ (theta - task.center)
        total = total + quadratic_loss({"x": theta - ALPHA * inner}, task) / 4
    expected = torch.autograd.grad(total, theta)[0]
    found = meta_gradient(method.objective(state), state.meta, batch)[1]
    torch.testing.assert_close(found[:5], expected)


def test_refusals():
    with pytest.raises(ValueError, match=r"no learning rate to tune. Take outer optimizer"):
        on_quadratics(AlphaMAML, outer=TrustRegion())
    schedule = Optimizer(schedule="CosineAnnealingLR", schedule_kwargs={"T_max": 10})
    with pytest.raises(ValueError, match=r"CosineAnnealingLR would set .* leave it out"):
        on_quadratics(AlphaMAML, outer=schedule)
    with pytest.raises(ValueError, match="Rprop is not: take Adam or SGD"):
        on_quadratics(AlphaMAML, outer=Optimizer("Rprop"))
    for wrong in ("alpha_rate", "beta_rate"):
        with pytest.raises(
            ValueError, match=f"algorithm_settings.{wrong} must be zero or positive, got -1"
        ):
            AlphaMAML.Settings(**{wrong: -1})
