"""Reptile: the direction in closed form, and what it is made of."""

from functools import partial

import numpy as np
import pytest
import torch

from rlmaml import ExampleSampler, losses, models, tree
from rlmaml.adjoints import first_order
from rlmaml.algorithms.reptile import Reptile
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.types import MetaBatch
from tests.helpers.problems import (
    Waves,
    at_end,
    cosine_gradient,
    cosine_loss,
    cosines,
    quadratic_loss,
    quadratics,
)

ALPHA = 0.3


META = {"params": {"x": torch.linspace(-1, 1, 5, dtype=torch.float64)}}


def reptile(loss, steps, epsilon=0.7):
    inner, outer = InnerConfig(steps=steps, step_size=ALPHA), Optimizer("SGD", epsilon)
    return Reptile(None, inner, outer, inner_loss=lambda policy: loss, outer_loss=lambda p: loss)


def direction(method, support):
    batch = MetaBatch(support, support[0])
    return meta_gradient(method.objective(method.initial_state(META)), META, batch)[1]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_direction_and_update_in_closed_form(steps):
    """θ - φ_K for quadratics with other centers and curvatures in every step."""
    method = reptile(quadratic_loss, steps)
    support = tuple(quadratics(4, 5, seed=seed) for seed in range(steps))
    x = META["params"]["x"].expand(4, 5)
    for data in support:
        x = x - ALPHA * (data.curvature @ (x - data.center).unsqueeze(-1)).squeeze(-1)
    expected = (META["params"]["x"] - x).mean(0)
    torch.testing.assert_close(direction(method, support), expected)
    new, _ = method.update(method.initial_state(META), MetaBatch(support, support[0]))
    torch.testing.assert_close(new.meta["params"]["x"], META["params"]["x"] - 0.7 * expected)


def test_one_step_is_joint_training():
    tasks = cosines(4, 5)
    joint = over_tasks(partial(cosine_gradient, META["params"]["x"]))(tasks).mean(0)
    torch.testing.assert_close(direction(reptile(cosine_loss, 1), (tasks,)), ALPHA * joint)


def test_the_second_step_is_first_order_mamls_gradient_on_the_second_minibatch():
    first, second = cosines(4, 5), cosines(4, 5, seed=1)
    both = direction(reptile(cosine_loss, 2), (first, second))
    alone = direction(reptile(cosine_loss, 1), (first,))
    short = Objective(gradient_descent(cosine_loss, ALPHA), first_order, at_end(cosine_loss), None)
    expected = meta_gradient(short, META, MetaBatch((first,), second))[1]
    torch.testing.assert_close(both - alone, ALPHA * expected)


def test_what_it_cannot_do_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"no gradient of an outer loss.*Take outer optimizer"):
        Reptile(None, outer=TrustRegion())
    with pytest.raises(ValueError, match="differentiates no inner step"):
        Reptile(None, InnerConfig(hessian="separate"), Optimizer())


def test_every_inner_step_has_examples_of_its_own():
    family = Waves()
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(8,)))
    loss = losses.mse
    method = Reptile(
        models.functional(module), InnerConfig(steps=3), inner_loss=loss, outer_loss=loss
    )
    assert method.data_spec.fresh_support
    sampler = ExampleSampler(family, shots=4, queries=5, fresh_support=method.data_spec.steps)
    state = method.init(models.parameters(module))
    tasks = family.sample(2, np.random.default_rng(0))
    batch = collect(sampler, method.inner, state.meta, tasks, steps=3, key=(0, 0, 0))
    sets = [data.inputs for data in (*batch.support, batch.query)]
    assert [len(x[0]) for x in sets] == [4, 4, 4, 5]
    everything = torch.cat([x.flatten(1) for x in sets], 1)
    assert all(len(row.unique()) == 17 for row in everything)
    new, _ = method.update(state, batch)
    assert not torch.equal(*(tree.ravel(s.meta)[0] for s in (new, state)))
