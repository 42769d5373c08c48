"""iMAML as a method; its adjoint's own tests are in tests/rlmaml/test_adjoints.py."""

import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.algorithms.imaml import IMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import Examples, MetaBatch
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


def regression(steps, step_size=0.1, **settings):
    """iMAML of a smooth network, its parameters, and tasks of 10 + 5 examples."""
    torch.manual_seed(0)
    config = models.PolicyConfig(hidden=(8,), activation="tanh")
    model = models.GaussianMLP(1, 1, config).double()
    method = IMAML(
        models.functional(model),
        InnerConfig(steps=steps, step_size=step_size),
        Optimizer("SGD"),
        IMAML.Settings(**({"strength": 0.3, "cg_iterations": 25} | settings)),
        inner_loss=losses.mse,
        outer_loss=losses.mse,
    )
    sets = []
    for count in (10, 5):
        x = 10 * torch.rand(3, count, 1, dtype=torch.float64) - 5
        phases = torch.arange(3.0).view(3, 1, 1)
        sets.append(Examples(x, 2 * torch.sin(x + phases)))
    return method, {"params": models.parameters(model)}, *sets


def ends(method, meta, support, steps):
    adapted = over_tasks(lambda task: adapt(method.inner, meta, (task,) * steps)[-1])(support)
    return torch.stack(
        [tree.ravel(tree.map(lambda leaf, i=i: leaf[i], adapted))[0] for i in range(3)]
    )


def test_gauss_newton_steps_end_where_many_gradient_steps_do():
    method, meta, support, _ = regression(20, solver="gauss-newton", strength=10.0)
    slow, *_ = regression(500, step_size=0.03, strength=10.0)
    found = ends(method, meta, support, 20)
    assert (found - tree.ravel(meta)[0]).norm() > 0.1
    torch.testing.assert_close(found, ends(slow, meta, support, 500), rtol=1e-6, atol=1e-6)


def test_solved_to_the_end_its_gradient_is_that_of_what_is_solved():
    """The outer loss of φ*(θ), by central differences of the whole solution."""
    settings = {"solver": "gauss-newton", "cg_iterations": 25, "strength": 10.0}
    method, meta, support, query = regression(16, **settings)
    batch = MetaBatch((support,) * 16, query)
    objective = method.objective(method.initial_state(meta))
    found = meta_gradient(objective, meta, batch)[1]
    theta, unravel = tree.ravel(meta)

    def outer(theta):
        return meta_gradient(objective, unravel(theta), batch)[0].mean()

    assert found.norm() > 0.05
    for direction in torch.eye(len(theta), dtype=theta.dtype)[1::12]:
        step = 1e-3 * direction  # φ* is known to 1e-8, whose loss is flat there
        difference = (outer(theta + step) - outer(theta - step)) / 2e-3
        torch.testing.assert_close(found @ direction, difference, rtol=1e-4, atol=1e-5)


def test_the_residual_says_how_far_the_search_has_come():
    left = []
    for steps in (1, 4, 25):
        method, meta, support, query = regression(steps, solver="gauss-newton", strength=1.0)
        batch = MetaBatch((support,) * steps, query)
        left.append(method.signs(meta, batch)["residual"])
    assert 1 > left[0] > left[1] > left[2]
    assert left[2] < 1e-3


def test_gauss_newton_steps_are_of_classification_too():
    torch.manual_seed(0)
    model = models.CategoricalMLP(2, 3, models.PolicyConfig((8,), "tanh")).double()
    method = IMAML(
        models.functional(model),
        InnerConfig(steps=15),
        Optimizer("SGD"),
        IMAML.Settings(solver="gauss-newton", strength=1.0, cg_iterations=30),
        inner_loss=losses.cross_entropy,
        outer_loss=losses.cross_entropy,
    )
    x = torch.randn(2, 9, 2, dtype=torch.float64)
    data = Examples(x, torch.arange(9).remainder(3).expand(2, -1))
    meta = {"params": models.parameters(model)}
    assert method.signs(meta, MetaBatch((data,) * 15, data))["residual"] < 1e-5


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


def test_from_rewards_there_is_no_gauss_newton_step():
    with pytest.raises(ValueError, match="solver gauss-newton is for labeled examples"):
        IMAML(None, InnerConfig(), Optimizer(), IMAML.Settings(solver="gauss-newton"))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"algorithm_settings.strength must be positive, got 0"):
        IMAML.Settings(strength=0)
