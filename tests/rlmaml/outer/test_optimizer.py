"""Outer steps by torch's optimizers: against torch itself, schedules, clipping, saving."""

import copy
import io

import pytest
import torch

from rlmaml import Optimizer, tree
from rlmaml.adjoints import unrolled
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, meta_gradient
from rlmaml.types import MetaBatch, State
from tests.helpers.problems import at_end, quadratic_loss, quadratics


def problem(scale=1.0):
    tasks = quadratics(4, 3)
    tasks = tasks._replace(curvature=tasks.curvature * scale)

    def loss(params, task):
        return quadratic_loss(params, task)

    objective = Objective(gradient_descent(loss, 0.1), unrolled, at_end(loss), None)
    meta = {"params": {"x": torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)}}
    return objective, meta, MetaBatch((tasks,), tasks)


def descend(optimizer, steps, *, scale=1.0, between=lambda state: state):
    objective, meta, batch = problem(scale)
    state, log = State(meta, optimizer.init(meta)), []
    for _ in range(steps):
        state, metrics = optimizer.update(objective, state, batch)
        log.append(metrics)
        state = between(state)
    return state.meta["params"]["x"], log


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("Adam", {"betas": [0.8, 0.9]}), ("SGD", {"momentum": 0.9, "nesterov": True}), ("AdamW", {})],
)
def test_against_torch_on_the_same_gradient(name, kwargs):
    found, log = descend(Optimizer(name, learning_rate=0.05, kwargs=kwargs), 5)
    objective, meta, batch = problem()
    x = meta["params"]["x"].clone().requires_grad_()
    theirs = getattr(torch.optim, name)([x], lr=0.05, **kwargs)
    for metrics in log:
        losses, x.grad = meta_gradient(objective, {"params": {"x": x.detach()}}, batch)
        assert metrics["loss"] == losses.mean().item()
        assert metrics["gradient_norm"] == x.grad.norm().item()
        theirs.step()
    assert torch.equal(found, x.detach())


def test_schedule_is_stepped_once_an_update():
    optimizer = Optimizer(
        "SGD", 0.1, schedule="CosineAnnealingLR", schedule_kwargs={"T_max": 4, "eta_min": 0.0}
    )
    _, log = descend(optimizer, 5)
    rates = [metrics["learning_rate"] for metrics in log]
    expected = [0.05 * (1 + torch.cos(torch.tensor(torch.pi * k / 4)).item()) for k in range(5)]
    assert rates == pytest.approx(expected, abs=1e-7)


def test_clipping():
    """SGD moves by exactly rate times the clipped gradient."""
    objective, meta, batch = problem(100.0)
    x, gradient = meta["params"]["x"], meta_gradient(objective, meta, batch)[1]
    assert gradient.norm() > 10
    by_norm, _ = descend(Optimizer("SGD", 0.1, clip_norm=2.0), 1, scale=100.0)
    assert torch.allclose(by_norm - x, -0.2 * gradient / gradient.norm())
    by_value, _ = descend(Optimizer("SGD", 0.1, clip_value=0.5), 1, scale=100.0)
    assert torch.allclose(by_value - x, -0.1 * gradient.clamp(-0.5, 0.5))
    left, _ = descend(Optimizer("SGD", 0.1, clip_norm=1e9), 1, scale=100.0)
    assert torch.allclose(left - x, -0.1 * gradient)


def test_a_gradient_that_is_not_finite_changes_nothing():
    objective, meta, batch = problem()
    bad = batch.query._replace(center=batch.query.center * float("nan"))
    optimizer = Optimizer()
    state = State(meta, optimizer.init(meta))
    new, metrics = optimizer.update(objective, state, batch._replace(query=bad))
    assert metrics["outcome"] == "gradient not finite"
    assert new is state
    # And the optimizer has not seen it: the next step is as though it were the first.
    ahead, _ = optimizer.update(objective, new, batch)
    fresh, _ = optimizer.update(objective, State(meta, optimizer.init(meta)), batch)
    assert torch.equal(ahead.meta["params"]["x"], fresh.meta["params"]["x"])


def test_saved_state_goes_on_to_the_bit():
    optimizer = Optimizer("Adam", 0.1, schedule="ExponentialLR", schedule_kwargs={"gamma": 0.7})

    def through_a_file(state):
        file = io.BytesIO()
        torch.save(optimizer.state_dict(state.outer), file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        return State(copy.deepcopy(state.meta), optimizer.load_state_dict(state.meta, saved))

    straight, log = descend(optimizer, 6)
    stopped, log_stopped = descend(optimizer, 6, between=through_a_file)
    assert torch.equal(straight, stopped)
    assert log == log_stopped


def test_meta_parameters_given_are_not_written_to():
    objective, meta, batch = problem()
    before = meta["params"]["x"].clone()
    optimizer = Optimizer("SGD", 0.1)
    state, _ = optimizer.update(objective, State(meta, optimizer.init(meta)), batch)
    kept = state.meta["params"]["x"].clone()
    optimizer.update(objective, state, batch)
    assert torch.equal(meta["params"]["x"], before)
    assert torch.equal(tree.leaves(state.meta)[0], kept)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Adma"}, "no 'Adma': use .*Adam"),
        ({"name": "LBFGS"}, "no 'LBFGS'"),
        ({"learning_rate": 0.0}, "must be positive, got 0.0"),
        ({"clip_norm": -1.0}, "clip_norm must be positive or None"),
        ({"kwargs": {"bettas": [0.9, 0.9]}}, "Adam does not take .*bettas"),
        ({"schedule": "Cosine"}, "no 'Cosine': use .*CosineAnnealingLR"),
        ({"schedule": "CosineAnnealingLR"}, "CosineAnnealingLR does not take"),
        ({"schedule": "ReduceLROnPlateau"}, "no 'ReduceLROnPlateau'"),
        ({"kwargs": {"lr": 0.1}}, "learning_rate instead"),
        ({"kwargs": {"betas": [0.9]}}, "Adam does not take"),
        ({"kwargs": {"foreach": True, "fused": True}}, "Adam does not take"),
        ({"schedule": "StepLR", "schedule_kwargs": {"step_size": 0}}, "StepLR does not take"),
        ({"schedule_kwargs": {"T_max": 3}}, "are for a schedule"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)


def test_a_schedule_that_ends_too_soon_is_found_out():
    optimizer = Optimizer(schedule="OneCycleLR", schedule_kwargs={"max_lr": 0.1, "total_steps": 10})
    optimizer.validate_schedule(9)
    with pytest.raises(ValueError, match=r"cannot go on after 1[0-9] of 20"):
        optimizer.validate_schedule(20)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_saved_state_stays_what_it_was(name):
    """Neither going on with the state nor restoring from it writes to what was saved."""
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    optimizer, (objective, meta, batch) = Optimizer(name, 0.1, kwargs=kwargs), problem()
    state, _ = optimizer.update(objective, State(meta, optimizer.init(meta)), batch)
    saved, there = optimizer.state_dict(state.outer), state.meta
    expected, _ = optimizer.update(objective, state, batch)
    for _ in range(2):
        restored = State(there, optimizer.load_state_dict(there, saved))
        again, _ = optimizer.update(objective, restored, batch)
        assert torch.equal(again.meta["params"]["x"], expected.meta["params"]["x"])


def test_meta_parameters_put_in_between_updates_count():
    objective, meta, batch = problem()
    optimizer = Optimizer("SGD", 0.1)
    state, _ = optimizer.update(objective, State(meta, optimizer.init(meta)), batch)
    zeros = {"params": {"x": torch.zeros(3, dtype=torch.float64)}}
    moved, _ = optimizer.update(objective, state._replace(meta=zeros), batch)
    gradient = meta_gradient(objective, zeros, batch)[1]
    assert torch.allclose(moved.meta["params"]["x"], -0.1 * gradient)


def test_components_are_clipped_before_the_norm():
    """(30, 4) is (4, 4) by value, then (√½, √½) by norm; the other way round (0.99, 0.13)."""
    optimizer = Optimizer("SGD", learning_rate=1.0, clip_value=4.0, clip_norm=1.0)
    meta = {"params": {"x": torch.zeros(2, dtype=torch.float64)}}
    gradient = torch.tensor([30.0, 4.0], dtype=torch.float64)
    new = optimizer.descend(optimizer.init(meta), meta, gradient)
    expected = torch.full((2,), -(0.5**0.5), dtype=torch.float64)
    torch.testing.assert_close(new["params"]["x"], expected)
