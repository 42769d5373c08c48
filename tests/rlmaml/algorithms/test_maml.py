"""MAML: its update in closed form, and the losses that it takes."""

import pytest
import torch

from rlmaml import ExampleSampler, Optimizer, losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.types import MetaBatch
from tests.helpers import parts
from tests.helpers.problems import Waves, one, quadratic_loss, quadratics

ALPHA, BETA = 0.3, 0.1
EYE = torch.eye(5, dtype=torch.float64)


def updated(hessian, steps, x, batch):
    """What x becomes, by one step of gradient descent on the meta-objective."""
    method = MAML(
        None,
        InnerConfig(steps=steps, step_size=ALPHA, hessian=hessian),
        Optimizer("SGD", learning_rate=BETA),
        inner_loss=lambda policy: quadratic_loss,
        outer_loss=lambda policy: quadratic_loss,
    )
    state = method.initial_state({"params": {"x": x}})
    new, _ = method.update(state, batch)
    assert new.iteration == 1
    return new.meta["params"]["x"]


@pytest.mark.parametrize("hessian", ["support", "separate"])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_its_update_in_closed_form(hessian, steps):
    """θ - β mean_i Π_k (I - α A_i) A'_i (φ_i - c'_i), A_i of the data that the Hessian is of."""
    support, query, other = (quadratics(4, 5, seed=seed) for seed in range(3))
    x = torch.randn(5, dtype=torch.float64)
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(4):
        task, last = one(support, i), one(query, i)
        phi = x
        for _ in range(steps):
            phi = phi - ALPHA * task.curvature @ (phi - task.center)
        curvature = (task if hessian == "support" else one(other, i)).curvature
        jacobian = torch.linalg.matrix_power(EYE - ALPHA * curvature, steps)
        total += jacobian @ last.curvature @ (phi - last.center) / 4
    extra = (other,) * steps if hessian == "separate" else ()
    batch = MetaBatch((support,) * steps, query, extra)
    torch.testing.assert_close(updated(hessian, steps, x, batch), x - BETA * total)


@pytest.mark.parametrize("steps", [1, 3])
def test_its_meta_gradient_by_finite_differences(steps):
    method, meta, batch = parts.regression(MAML, steps=steps)
    parts.assert_finite_differences(method, parts.shaken(meta), batch)


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("hessian", ["support", "separate"])
def test_it_asks_for_the_data_that_its_update_takes(steps, hessian):
    method = MAML(None, InnerConfig(steps=steps, hessian=hessian))
    assert method.data_spec.steps == steps
    assert method.data_spec.separate_hessian == (hessian == "separate")
    assert not method.data_spec.fresh_support
    assert method.data_spec.task_copies == 1


def test_it_is_meta_learned_whole_and_differentiated_exactly():
    method = MAML(None)
    params = {"x": torch.ones(2)}
    assert method.init_meta(params) == {"params": params}
    assert method.network(params) is params
    assert method.adjoint is unrolled
    assert set(method.adapts(params)) == {"x"}
    assert not method.requires


def test_maml_defaults_to_policy_gradients_and_takes_other_losses():
    module = models.RegressionMLP(1, 1)
    policy = models.functional(module)
    family = Waves()
    sampler = ExampleSampler(family, shots=10, queries=10)
    algorithm = MAML(
        policy, InnerConfig(step_size=0.01), inner_loss=losses.mse, outer_loss=losses.mse
    )
    state = algorithm.init(models.parameters(module))
    before = None
    for i in range(15):
        tasks = family.sample(20, generator(0, i, 1))
        batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, i, 2))
        state, metrics = algorithm.update(state, batch)
        before = before or metrics["surrogate"] - metrics["surrogate/gain"]
        assert metrics["outcome"] == "accepted"
    assert metrics["surrogate"] > before  # minus the loss


@pytest.mark.gpu
def test_examples_and_optimizer_on_cuda():
    family = Waves()
    policy = models.functional(module := models.RegressionMLP(1, 1))
    algorithm = MAML(
        policy, outer=Optimizer(), inner_loss=losses.mse, outer_loss=losses.mse, chunk_size=2
    )
    tasks, moved = family.sample(5, generator(0)), []
    for device in ("cpu", "cuda"):
        sampler = ExampleSampler(family, shots=4, queries=4, device=device)
        state = algorithm.init(tree.to(models.parameters(module), device))
        batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, 0, 0))
        assert all(leaf.device.type == device for leaf in tree.leaves(batch))
        state, _ = algorithm.update(state, batch)
        moved.append(tree.ravel(tree.to(state.meta, "cpu"))[0])
    assert torch.allclose(*moved, atol=1e-5)
