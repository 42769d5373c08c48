"""Meta-SGD: MAML at equal rates, the closed form on quadratics, finite differences."""

import pytest
import torch

from rlmaml import tree
from rlmaml.algorithms.meta_sgd import MetaSGD
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import TrainConfig
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from tests.helpers.problems import one
from tests.helpers.step_sizes import (
    assert_all_moved,
    assert_is_maml,
    assert_resumes,
    assert_slopes,
    iteration_on_episodes,
    on_episodes,
    on_quadratics,
    shifted,
)


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
def test_equal_rates_are_maml(make):
    assert_is_maml(MetaSGD, make)


def test_against_the_closed_form_on_quadratics():
    """With φ - c = (I - diag(α) A)(θ - c): the gradients of θ and of α."""
    method, state, batch = on_quadratics(MetaSGD)
    state = shifted(state, -1.0)
    assert (state.meta["rates"]["x"] < 0).any()  # no sign is imposed
    alpha, x = state.meta["rates"]["x"], state.meta["params"]["x"]
    gradient = meta_gradient(method.objective(state), state.meta, batch)[1]
    for_x, for_alpha = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(4):
        task = one(batch.query, i)
        jacobian = torch.eye(5, dtype=x.dtype) - alpha.diag() @ task.curvature
        outer = task.curvature @ jacobian @ (x - task.center)
        for_x += jacobian.T @ outer / 4
        for_alpha -= task.curvature @ (x - task.center) * outer / 4
    torch.testing.assert_close(gradient, torch.cat([for_x, for_alpha]))


@pytest.mark.parametrize("make", [on_quadratics, on_episodes])
@pytest.mark.parametrize("steps", [1, 2])
def test_meta_gradient_by_finite_differences(make, steps):
    method, state, batch = make(MetaSGD, steps=steps)
    state = shifted(state)
    assert_slopes(method.objective(state), state.meta, batch)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 0.1), (0.5, 0.1), (0.05, 0.05)])
def test_steps_beyond_those_that_rates_were_learned_for_are_short(share, expected):
    config = TrainConfig(inner=InnerConfig(later_step_share=share))
    assert config.with_algorithm("meta-sgd").inner.later_step_share == expected


@pytest.mark.slow
def test_the_rates_learn():
    """On tasks that share a diagonal curvature, learned rates solve each of them in one step."""
    method, state, batch = on_quadratics(MetaSGD, outer=Optimizer("Adam", 0.05))
    tasks = batch.query._replace(
        curvature=torch.tensor([0.5, 1, 2, 3, 4]).double().diag().repeat(4, 1, 1)
    )
    batch = batch._replace(support=(tasks,), query=tasks)
    for _ in range(600):
        state, metrics = method.update(state, batch)
    assert metrics["loss"] < 1e-6
    torch.testing.assert_close(
        state.meta["rates"]["x"], 1 / tasks.curvature[0].diag(), rtol=1e-2, atol=1e-2
    )


def test_where_the_rates_begin():
    params = {"a": torch.zeros(100, 100), "b": torch.zeros(3, dtype=torch.float64)}

    def rates(**settings):
        inner = InnerConfig(step_size=0.0525)
        method = MetaSGD(None, inner, settings=MetaSGD.Settings(**settings))
        return method.init_meta(params)["rates"]

    assert tree.map(torch.Tensor.unique, rates()) == {
        name: torch.tensor([0.0525], dtype=value.dtype) for name, value in params.items()
    }
    drawn = rates(spread=0.905)
    assert [drawn[name].dtype for name in drawn] == [torch.float32, torch.float64]
    assert drawn["a"].min().item() == pytest.approx(0.005, abs=1e-4)
    assert drawn["a"].max().item() == pytest.approx(0.1, abs=1e-4)
    assert torch.equal(drawn["a"], rates(spread=0.905)["a"])
    assert not torch.equal(drawn["a"], rates(spread=0.905, seed=1)["a"])


def test_saved_and_restored():
    assert_resumes(*on_quadratics(MetaSGD, outer=Optimizer("Adam", 0.05)))


@pytest.mark.parametrize("outer", [TrustRegion(damping=0.1), Optimizer()], ids=["trpo", "adam"])
def test_on_episodes_with_either_outer_step(outer):
    before, new, metrics = iteration_on_episodes(MetaSGD, outer)
    assert metrics["outcome"] == "accepted"
    assert_all_moved(before, new.meta)


def test_refusals():
    with pytest.raises(ValueError, match=r"algorithm_settings.spread must be .* got 1.0"):
        MetaSGD.Settings(spread=1.0)
