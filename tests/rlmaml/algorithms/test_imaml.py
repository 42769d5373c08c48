"""iMAML as a method; its adjoint's own tests are in tests/rlmaml/test_adjoints.py."""

import pytest
import torch

from rlmaml.adjoints import unrolled
from rlmaml.algorithms.imaml import IMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import MetaBatch
from tests.helpers.problems import cosine_loss, cosines, quadratic_loss, quadratics

STRENGTH = 2.0
META = {"params": {"x": torch.linspace(-1, 1, 5, dtype=torch.float64)}}


def imaml(loss, steps, step_size=0.2, **settings):
    made = {"inner_loss": lambda policy: loss, "outer_loss": lambda policy: loss}
    inner = InnerConfig(steps=steps, step_size=step_size)
    settings = IMAML.Settings(**({"strength": STRENGTH, "cg_iterations": 20} | settings))
    return IMAML(None, inner, Optimizer("SGD"), settings, **made)


def gradient(method, batch):
    return meta_gradient(method.objective(method.initial_state(META)), META, batch)[1]


def test_the_minimizer_and_its_gradient_in_closed_form():
    """φ* = (A + λI)⁻¹ (A c + λ θ) and dφ*/dθ = (I + A/λ)⁻¹ on quadratics."""
    tasks, query = quadratics(4, 5), quadratics(4, 5, seed=1)
    method = imaml(quadratic_loss, 300)
    eye = torch.eye(5, dtype=torch.float64)
    right = (tasks.curvature @ tasks.center.unsqueeze(-1)).squeeze(-1)
    right = right + STRENGTH * META["params"]["x"]
    minimizer = torch.linalg.solve(tasks.curvature + STRENGTH * eye, right)
    path = over_tasks(lambda task: adapt(method.inner, META, (task,) * 300))(tasks)
    torch.testing.assert_close(path[-1]["x"], minimizer)
    v = (query.curvature @ (minimizer - query.center).unsqueeze(-1)).squeeze(-1)
    expected = torch.linalg.solve(eye + tasks.curvature / STRENGTH, v).mean(0)
    found = gradient(method, MetaBatch((tasks,) * 300, query))
    torch.testing.assert_close(found, expected)
    # With λ upside down, or without the inverse, it would not be.
    assert (torch.linalg.solve(eye + tasks.curvature * STRENGTH, v).mean(0) - found).norm() > 0.05
    assert (v.mean(0) - found).norm() > 0.05


def test_the_gradient_is_that_of_unrolling_to_convergence():
    tasks, query = cosines(3, 5), cosines(3, 5, seed=1)
    batch = MetaBatch((tasks,) * 200, query)
    method = imaml(cosine_loss, 200, strength=3.0)
    found = gradient(method, batch)
    through = method.objective(method.initial_state(META))._replace(adjoint=unrolled)
    torch.testing.assert_close(found, meta_gradient(through, META, batch)[1])


def test_solver_steps_are_inner_steps_on_the_same_data():
    tasks, query = cosines(3, 5), cosines(3, 5, seed=1)
    several = imaml(cosine_loss, 6)
    inside = imaml(cosine_loss, 1, solver_steps=6)
    paths = [
        over_tasks(lambda t, m=m, n=n: adapt(m.inner, META, (t,) * n))(tasks)[-1]["x"]
        for m, n in ((several, 6), (inside, 1))
    ]
    torch.testing.assert_close(*paths)
    torch.testing.assert_close(
        gradient(several, MetaBatch((tasks,) * 6, query)),
        gradient(inside, MetaBatch((tasks,), query)),
    )


@pytest.mark.parametrize(
    ("inner", "outer", "words"),
    [
        ({}, TrustRegion(), "not a linear map.*Take outer optimizer"),
        ({"hessian": "separate"}, Optimizer(), "the data that it is the minimizer of"),
        (
            {"step_size": 1.0},
            Optimizer(),
            "step_size 1.0 times algorithm_settings.strength 2.0 must be below 2",
        ),
        ({"surrogate": "log-likelihood"}, Optimizer(), "does not correct for"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(inner, outer, words):
    with pytest.raises(ValueError, match=words):
        IMAML(None, InnerConfig(**inner), outer)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"algorithm_settings.strength must be positive, got 0"):
        IMAML.Settings(strength=0)
