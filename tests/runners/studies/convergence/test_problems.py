"""The constants of the families, by looking at every w."""

import itertools
import math

import pytest
import torch

from runners.studies.convergence import estimator
from runners.studies.convergence.iterations import family as slow_tail
from runners.studies.convergence.problems import Cosines, Quadratics, Samples, SlowTail

pytestmark = pytest.mark.slow

GRID = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)


def derivative(function, order: int, x: torch.Tensor) -> torch.Tensor:
    for _ in range(order):
        function = torch.func.grad(function)
    return torch.func.vmap(function)(x)


@pytest.mark.parametrize(
    ("family", "grid"),
    [
        (estimator.family(), GRID),
        *((slow_tail(p), torch.linspace(-6, 6, 20_001, dtype=torch.float64)) for p in (0.25, 1, 3)),
    ],
)
def test_smoothness_is_the_largest_second_and_third_derivative(family, grid):
    constants = family.constants
    for order, expected in ((2, constants.smoothness), (3, constants.hessian_lipschitz)):
        largest = derivative(family.profile, order, grid).abs().max() * family.amplitudes.max()
        torch.testing.assert_close(float(largest), expected, rtol=1e-6, atol=0)


def test_tasks_differ_by_sigma_somewhere_and_nowhere_more():
    """Coordinates are independent, so that the worst w is the worst of each."""
    family = estimator.family()
    worst = torch.stack([GRID] * family.size, 1)  # the same for both: variances per coordinate
    gradients = torch.stack([family.gradients(w) for w in worst])  # [G, N, d]
    most = gradients.var(1, correction=0).max(0).values.sum()
    assert math.sqrt(most) == pytest.approx(family.constants.between_tasks, rel=1e-6)


@pytest.mark.parametrize("power", [0.25, 1.0])
def test_slow_tails_differ_by_sigma_somewhere(power):
    family = slow_tail(power)
    grid = torch.linspace(-3, 3, 3001, dtype=torch.float64)
    gradients = torch.stack([family.gradients(w[None])[:, 0] for w in grid])
    most = gradients.std(1, correction=0).max()
    assert float(most) == pytest.approx(family.constants.between_tasks, rel=1e-4)


@pytest.mark.parametrize("family", [estimator.family(), slow_tail(1.0, 0.3)])
def test_a_sample_is_the_loss_and_noise_of_mean_zero_that_is_as_large_as_said(family):
    """All 4^d samples of one task, where the noise is largest."""
    d = family.size
    signs = list(itertools.product((-1.0, 1.0), repeat=2 * d))
    noise = torch.tensor(signs, dtype=torch.float64).view(-1, 2, 1, d)
    w, center = torch.full((d,), 0.4, dtype=torch.float64), family.centers[0]
    for shift, field in ((math.pi / 2, "gradient_noise"), (0.0, "hessian_noise")):
        w = center + shift  # sin² = 1, cos² = 1

        def of(which, w=w):
            def one(xi, zeta):
                samples = Samples(family.amplitudes[0], center, xi, zeta)
                return which(lambda w: family.loss({"w": w}, samples))(w)

            return torch.func.vmap(one)(noise[:, 0], noise[:, 1])

        gradients, hessians = of(torch.func.grad), of(torch.func.hessian)
        exact = family.gradients(w)[0]
        torch.testing.assert_close(gradients.mean(0), exact)
        spread = (gradients - gradients.mean(0)).square().sum(1).mean()
        bend = torch.linalg.matrix_norm(hessians - hessians.mean(0), 2).square().mean()
        measured = {"gradient_noise": spread, "hessian_noise": bend}[field]
        assert math.sqrt(measured) == pytest.approx(getattr(family.constants, field), rel=1e-12)
        assert math.sqrt(spread) <= family.constants.gradient_noise * (1 + 1e-12)


def test_drawn_samples_are_signs_and_the_generators():
    family = estimator.family()
    tasks = torch.tensor([0, 3, 3])
    drawn = [family.draw(tasks, 7, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert drawn[0].gradient_noise.shape == (3, 7, 2)
    assert set(drawn[0].hessian_noise.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(drawn[0].gradient_noise, drawn[1].gradient_noise)
    assert not torch.equal(drawn[0].gradient_noise, drawn[2].gradient_noise)
    assert not torch.equal(drawn[0].gradient_noise, drawn[0].hessian_noise)
    assert torch.equal(drawn[0].center, family.centers[tasks])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosines(torch.ones(2), torch.zeros(3, 1)), r"got \[2\] and \[3, 1\]"),
        (lambda: Quadratics(torch.tensor([1.0, 0.0]), torch.zeros(2, 1)), "must be positive"),
        (lambda: Cosines(torch.ones(1), torch.zeros(1, 1), -1.0), "zero or positive"),
        (lambda: SlowTail(torch.ones(1), torch.zeros(1, 1), power=0.0), "power must be positive"),
        (lambda: SlowTail(torch.ones(1), torch.zeros(1, 2)), r"centers must be \[N, 1\]"),
    ],
)
def test_bad_families(make, message):
    with pytest.raises(ValueError, match=message):
        make()
