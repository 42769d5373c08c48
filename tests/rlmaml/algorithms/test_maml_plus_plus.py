"""MAML++: MAML with every part off, each part alone against what it should be."""

import math

import pytest
import torch

from rlmaml import ConvClassifier, ConvConfig, losses, models, tree
from rlmaml.adjoints import first_order
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.maml_plus_plus import MAMLPlusPlus, step_weights
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import Examples, MetaBatch
from tests.helpers.problems import one, quadratic_loss, quadratics
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
    shifted,
)

Settings = MAMLPlusPlus.Settings


OFF = Settings(learn_step_sizes=False)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
def test_with_all_off_it_is_maml_to_the_bit(make):
    (method, state), (plain, start), batch = assert_is_maml(MAMLPlusPlus, make, OFF)
    for _ in range(3):
        state, metrics = method.update(state, batch)
        start, expected = plain.update(start, batch)
        assert metrics == expected
    assert_same(state.meta, start.meta)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
def test_equal_rates_are_maml(make):
    assert_is_maml(MAMLPlusPlus, make)


def test_one_rate_for_each_tensor_and_step():
    _, state, _ = on_episodes(MAMLPlusPlus, steps=3)
    assert {name: rates.shape for name, rates in state.meta["rates"].items()} == {
        name: (3,) for name in state.meta["params"]
    }
    assert all((rates == 0.4).all() for rates in state.meta["rates"].values())
    # Without training steps there is one, so that adaptation can be tried all the same.
    assert on_quadratics(MAMLPlusPlus, steps=0)[1].meta["rates"]["x"].shape == (1,)


def test_against_the_closed_form_and_the_last_rate_beyond_k():
    method, state, batch = on_quadratics(MAMLPlusPlus, steps=2)
    state = shifted(state)
    rates, task = state.meta["rates"]["x"], one(batch.query, 0)
    assert rates[0] != rates[1]
    path = adapt(method.inner, state.meta, (task,) * 4)
    shift = state.meta["params"]["x"] - task.center
    for params, rate in zip(path[1:], [*rates, rates[1], rates[1]], strict=True):
        shift = shift - rate * task.curvature @ shift
        torch.testing.assert_close(params["x"], task.center + shift)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
@pytest.mark.parametrize("settings", [Settings(), Settings(multi_step_iterations=4)], ids=str)
def test_meta_gradient_by_finite_differences(make, settings):
    method, state, batch = make(MAMLPlusPlus, settings, steps=3)
    state = shifted(state)._replace(iteration=1)
    assert_slopes(method.objective(state), state.meta, batch)


def test_step_weights_are_the_authors():
    """Their code: equal at first, less by e / (K E) until a floor of .03 / K, the rest last."""
    for steps in (1, 2, 5):
        for share in (0.0, 0.3, 0.9, 0.99):
            weights = step_weights(steps, share)
            early = max(1 / steps - share / steps, 0.03 / steps)
            last = min(1 / steps + share * (steps - 1) / steps, 1 - (steps - 1) * 0.03 / steps)
            assert weights == pytest.approx([early] * (steps - 1) + [last], abs=1e-15)
            assert sum(weights) == pytest.approx(1, abs=1e-15)
    assert step_weights(0, 0.5) == []


@pytest.mark.parametrize("done", [0, 3, 9, 10])
def test_multi_step_loss_of_examples_and_its_end(done):
    method, state, batch = on_quadratics(MAMLPlusPlus, Settings(multi_step_iterations=10), steps=3)
    batch = batch._replace(query=quadratics(4, 5, seed=1))  # not what the steps learn from
    state = state._replace(iteration=done)
    expected = 0.0
    for i in range(4):
        data = one(batch, i)
        path = adapt(method.inner, state.meta, data.support)
        weights = step_weights(3, done / 10) if done < 10 else [0, 0, 1]
        for weight, params in zip(weights, path[1:], strict=True):
            expected += weight * quadratic_loss(params, data.query) / 4
    torch.testing.assert_close(mean_loss(method.objective(state), state.meta, batch), expected)


def test_multi_step_loss_of_episodes_is_on_those_that_were_sampled():
    """At collection every ratio is 1: φ_k's loss is minus its own episodes' mean advantage."""
    method, state, batch = on_episodes(MAMLPlusPlus, Settings(multi_step_iterations=10), steps=3)

    def advantage(data):
        return (data.advantages * data.mask).sum((1, 2)) / data.mask.sum((1, 2))

    # `random_batch` took every step with the first data's rule, so it sampled along this path.
    measured = (*batch.support[1:], batch.query)
    state = state._replace(iteration=4)
    found = [
        method.outer_loss(path, data)
        for path, data in (
            (adapt(method.inner, state.meta, one(batch, i).support), one(batch, i))
            for i in range(5)
        )
    ]
    torch.testing.assert_close(torch.stack(found), -advantage(batch.query))
    expected = -sum(
        w * advantage(data) for w, data in zip(step_weights(3, 0.4), measured, strict=True)
    ).mean()
    torch.testing.assert_close(mean_loss(method.objective(state), state.meta, batch), expected)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
def test_first_order_at_the_beginning_only(make):
    """FO-MAML's gradient of θ; that of a rate is minus the inner product of two gradients."""
    method, state, batch = make(MAMLPlusPlus, Settings(first_order_iterations=2), steps=2)
    begin, later = (method.objective(state._replace(iteration=i)) for i in (1, 2))
    assert later.inner is method.inner
    plain, start, _ = make(MAML, steps=2)
    meta = {"params": state.meta["params"]}
    fo = plain.objective(start)._replace(adjoint=first_order)
    found = tree.ravel(state.meta)[1](meta_gradient(begin, state.meta, batch)[1])
    expected = tree.ravel(meta)[1](meta_gradient(fo, meta, batch)[1])
    rates = tree.map(torch.zeros_like, state.meta["rates"])
    tasks = len(tree.leaves(batch)[0])
    for i in range(tasks):
        data = one(batch, i)
        path = adapt(method.inner, state.meta, data.support)
        outer = torch.func.grad(method.loss)(path[-1], data.query)
        for k in (0, 1):
            inner = torch.func.grad(method.inner_loss)(path[k], data.support[k])
            for name in rates:
                rates[name][k] -= (inner[name] * outer[name]).sum() / tasks
    for name, value in expected["params"].items():
        torch.testing.assert_close(found["params"][name], value)
        torch.testing.assert_close(found["rates"][name], rates[name])
    full = tree.ravel(state.meta)[1](meta_gradient(later, state.meta, batch)[1])
    assert not any(
        torch.allclose(full["params"][name], value) for name, value in found["params"].items()
    )


def test_the_learning_rate_falls_along_a_cosine_and_stays_there():
    settings = Settings(cosine_iterations=4, minimum_learning_rate=0.02)
    method, state, batch = on_quadratics(MAMLPlusPlus, settings)
    rates, moved = [], []
    for _ in range(6):
        gradient = meta_gradient(method.objective(state), state.meta, batch)[1]
        new, metrics = method.update(state, batch)
        rates.append(metrics["learning_rate"])
        step = (tree.ravel(state.meta)[0] - tree.ravel(new.meta)[0]) / gradient
        moved.append(step.mean().item())
        state = new
    half = [0.02 + 0.08 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    assert rates == pytest.approx([*half, 0.02], rel=1e-12)
    assert moved == pytest.approx(rates, rel=1e-6)
    assert rates[0] == pytest.approx(0.1)


@pytest.mark.parametrize("outer", [Optimizer("SGD", 0.1), Optimizer("Adam", 0.05)], ids=str)
def test_saved_and_restored_in_the_midst_of_everything(outer):
    """The parts that depend on the iteration go on where they were."""
    settings = Settings(True, 4, 3, 5)
    assert_resumes(*on_quadratics(MAMLPlusPlus, settings, steps=2, outer=outer))


def image_problem(settings, steps=2):
    model = ConvClassifier(
        (1, 8, 8), 3, ConvConfig(blocks=2, filters=4, downsample="stride")
    ).double()
    method = MAMLPlusPlus(
        models.functional(model),
        InnerConfig(steps=steps, step_size=ALPHA),
        Optimizer("SGD", learning_rate=0.1),
        settings,
        inner_loss=losses.cross_entropy,
        outer_loss=losses.cross_entropy,
    )
    labels = torch.arange(3).repeat(4, 2)
    support, query = (
        Examples(torch.randn(4, 6, 1, 8, 8, dtype=torch.float64), labels) for _ in range(2)
    )
    state = method.init(models.parameters(model))
    return method, state, MetaBatch((support,) * steps, query)


def test_batch_norm_of_each_step_is_learned_and_not_adapted():
    method, state, batch = image_problem(Settings(per_step_norm=True))
    names = {f"blocks.{b}.norm.{which}" for b in (0, 1) for which in ("weight", "bias")}
    assert set(state.meta["norms"]) == names
    assert not names & (set(state.meta["params"]) | set(state.meta["rates"]))
    assert all(value.shape == (2, 4) for value in state.meta["norms"].values())
    norms = tree.map(lambda v: v + 0.3 * torch.randn_like(v), state.meta["norms"])
    meta = state.meta | {"norms": norms}
    data = one(batch, 0)
    path = adapt(method.inner, meta, (data.support[0],) * 4)
    for params, row in zip(path, (0, 0, 1, 1, 1), strict=True):
        assert set(params) == names | set(meta["params"])
        assert method.network(params) is params
        assert all(torch.equal(params[name], norms[name][row]) for name in names)
    # Step 1 is taken with row 1.
    name = "logits.weight"
    at = path[1] | {n: norms[n][1] for n in names}
    gradient = torch.func.grad(method.inner_loss)(at, data.support[0])[name]
    torch.testing.assert_close(path[2][name], path[1][name] - ALPHA * gradient)
    assert_slopes(method.objective(state), meta, batch, ("params", "norms", "rates"))
    state = state._replace(meta=meta)
    new, metrics = method.update(state, batch)
    assert metrics["outcome"] == "accepted"
    assert_all_moved(meta, new.meta)


@pytest.mark.slow
def test_everything_at_once_learns():
    settings = Settings(True, 40, 20, 400, 1e-4)
    method, state, batch = on_quadratics(
        MAMLPlusPlus, settings, steps=3, outer=Optimizer("Adam", 0.05)
    )
    lines = []
    for _ in range(150):
        state, metrics = method.update(state, batch)
        lines.append(metrics["loss"])
    plain, start, _ = on_quadratics(MAML, steps=3, outer=Optimizer("Adam", 0.05))
    for _ in range(150):
        start, metrics = plain.update(start, batch)
    assert lines[-1] < 0.8 * metrics["loss"] < metrics["loss"] < lines[0]


@pytest.mark.parametrize("outer", [TrustRegion(damping=0.1), Optimizer()], ids=["trpo", "adam"])
@pytest.mark.parametrize("first", [0, 1])
def test_on_episodes_with_either_outer_step(outer, first):
    settings = Settings(multi_step_iterations=2, first_order_iterations=first)
    before, new, metrics = iteration_on_episodes(MAMLPlusPlus, outer, settings)
    assert metrics["outcome"] == "accepted"
    assert_all_moved(before, new.meta)


def test_refusals():
    for name in ("multi_step_iterations", "first_order_iterations", "cosine_iterations"):
        with pytest.raises(ValueError, match=f"algorithm_settings.{name} must be zero"):
            Settings(**{name: -1})
    with pytest.raises(ValueError, match="minimum_learning_rate must be zero or positive, got -1"):
        Settings(minimum_learning_rate=-1)
    cosine = Settings(cosine_iterations=10)
    with pytest.raises(ValueError, match=r"only an optimizer has. Take outer optimizer .* 0"):
        on_quadratics(MAMLPlusPlus, cosine, outer=TrustRegion())
    schedule = Optimizer(schedule="StepLR", schedule_kwargs={"step_size": 10})
    with pytest.raises(ValueError, match="would both set the learning rate"):
        on_quadratics(MAMLPlusPlus, cosine, outer=schedule)
    with pytest.raises(ValueError, match=r"1e-05 is above .* 1e-06"):
        on_quadratics(MAMLPlusPlus, cosine, outer=Optimizer(learning_rate=1e-6))
    with pytest.raises(ValueError, match="per_step_norm needs a model with batch norm"):
        on_quadratics(MAMLPlusPlus, Settings(per_step_norm=True))
