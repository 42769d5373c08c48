"""The estimator's moments, by numbers that know nothing of the package, and under their bounds."""

import itertools
import math

import numpy as np
import pytest
import torch

from rlmaml.types import MetaBatch
from runners.studies.convergence import bounds, estimator
from runners.studies.convergence.estimator import (
    every_mean,
    exact_gradient,
    moments,
    no_noise,
    two_points,
)
from runners.studies.convergence.problems import Samples, estimates

pytestmark = pytest.mark.slow

FAMILY = estimator.family()
CONSTANTS = FAMILY.constants
SIZE = bounds.largest_step_size(CONSTANTS)
W = torch.tensor([0.7, -1.9], dtype=torch.float64)


@pytest.fixture(scope="module")
def study():
    return estimator.moments_study((1, 4, 16, 32))  # the study has 64, four times the work


def by_hand(inner: int, outer: int, hessian: int):
    """E G and E‖G‖² of cosines, coordinate by coordinate."""
    s_g, s_h = FAMILY.gradient_scale, FAMILY.hessian_scale
    heads = np.arange(inner + 1)
    chance = np.array([math.comb(inner, h) for h in heads]) / 2.0**inner
    mean = 2 * heads / inner - 1
    total, square = np.zeros(2), 0.0
    for a, center in zip(FAMILY.amplitudes.numpy(), FAMILY.centers.numpy(), strict=True):
        for j in range(2):
            z = W[j].item() - center[j]
            xi, zeta = np.meshgrid(mean, mean, indexing="ij")
            step = (a + s_h * zeta) * np.sin(z) + s_g * xi
            there = z - SIZE * step
            first = (1 - SIZE * a * np.cos(z)) * a * np.sin(there)
            curvature = (1 - SIZE * a * np.cos(z)) ** 2
            curvature += (SIZE * s_h * np.cos(z)) ** 2 / hessian
            slope = (a * np.sin(there)) ** 2 + (s_g**2 + (s_h * np.sin(there)) ** 2) / outer
            weight = np.outer(chance, chance)
            total[j] += (weight * first).sum() / 5
            square += (weight * curvature * slope).sum() / 5
    return total, square


@pytest.mark.parametrize(("inner", "outer", "hessian"), [(1, 1, 1), (3, 2, 5), (16, 4, 1)])
def test_moments_by_hand(inner, outer, hessian):
    computed = moments(
        FAMILY, W, SIZE, every_mean(inner), two_points(outer), two_points(hessian, slope=False)
    )
    mean, square = by_hand(inner, outer, hessian)
    np.testing.assert_allclose(computed.mean, mean, rtol=1e-12)
    assert computed.square == pytest.approx(square, rel=1e-12)


def test_moments_by_writing_down_all_data_sets():
    """Two samples for each of the three sets, every one of them in full, on one coordinate."""
    family = type(FAMILY)(
        FAMILY.amplitudes[:2], FAMILY.centers[:2, :1], FAMILY.gradient_scale, FAMILY.hessian_scale
    )
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    index = torch.cartesian_prod(*[torch.arange(k) for k in (2, 16, 16, 16)])

    def samples(which):
        drawn = signs[which].view(-1, 2, 2, 1)
        task = index[:, 0]
        return Samples(family.amplitudes[task], family.centers[task], drawn[:, 0], drawn[:, 1])

    batch = MetaBatch((samples(index[:, 1]),), samples(index[:, 2]), (samples(index[:, 3]),))
    objective = family.objective("maml", SIZE)
    computed = estimates(objective, {"params": {"w": W[:1]}}, batch)
    expected = moments(family, W[:1], SIZE, every_mean(2), every_mean(2), every_mean(2))
    torch.testing.assert_close(computed.mean(0), expected.mean, rtol=1e-12, atol=0)
    assert float(computed.square().sum(1).mean()) == pytest.approx(expected.square, rel=1e-12)
    short = moments(family, W[:1], SIZE, every_mean(2), two_points(2), two_points(2))
    assert short.square == pytest.approx(expected.square, rel=1e-12)


def test_without_noise_it_is_the_gradient_of_the_mean_loss_after_a_step():
    h = 1e-6
    for j in range(2):
        away = torch.zeros(2, dtype=torch.float64)
        away[j] = h
        slope = (FAMILY.value(W + away, SIZE) - FAMILY.value(W - away, SIZE)) / (2 * h)
        assert float(exact_gradient(FAMILY, W, SIZE)[j]) == pytest.approx(slope, rel=1e-8)


def test_probabilities_are_binomial():
    every = every_mean(64)
    assert len(every.probability) == 65**2
    assert float(every.probability.sum()) == pytest.approx(1, abs=1e-12)
    for outcomes, count in ((every, 64), (two_points(64), 64), (two_points(9, slope=False), 9)):
        bend = outcomes.hessian_noise
        assert float(outcomes.probability @ bend) == pytest.approx(0, abs=1e-12)
        assert float(outcomes.probability @ bend**2) == pytest.approx(1 / count, rel=1e-10)
    assert no_noise().probability.tolist() == [1]


def test_the_bias_is_below_both_bounds_and_falls_like_the_number_of_samples(study):
    for row in study.rows:
        assert 0 < row.bias < row.second_order_bound < row.first_order_bound
    assert [row.inner for row in study.rows] == [1, 4, 16, 32]
    assert max(abs(slope + 1) for slope in study.slopes) < 0.01


def test_points_are_far_from_and_at_rest(study):
    norms = study.gradient_norms
    assert max(norms) > 0.5
    assert sum(norm < 1e-14 for norm in norms) == 3
    assert sum(1e-14 < norm < 0.02 for norm in norms) == 2


def test_the_moments_are_below_7_and_8(study):
    for row in study.rows:
        assert 0.1 < row.first_moment_share <= 1
        assert 0.1 < row.second_moment_share <= 1


def test_a_smaller_bound_would_be_broken():
    """One task, at w where ∇f curves most: nearly all that the bound allows."""
    family = type(FAMILY)(
        torch.ones(1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), 0.5
    )
    size, w = bounds.largest_step_size(family.constants), torch.full((1,), math.pi / 2).double()
    computed = moments(family, w, size, every_mean(4), no_noise(), no_noise()).mean
    bias = float((computed - exact_gradient(family, w, size)).norm())
    bound = bounds.second_order_bias(family.constants, size, 4)
    assert 0.8 < bias / bound <= 1
