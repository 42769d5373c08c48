"""The inequalities in numbers."""

import math

import pytest

from runners.studies.convergence import bounds
from runners.studies.convergence.problems import Constants


def test_bounds_in_numbers():
    constants = Constants(2.0, 3.0, 0.5, 0.7, 0.2)
    assert bounds.largest_step_size(constants) == pytest.approx(1 / 12)
    assert bounds.largest_step_size(constants, "fo-maml") == pytest.approx(1 / 20)
    assert bounds.STEP_SHARES == {"maml": 1 / 12, "fo-maml": 1 / 18, "hf-maml": 1 / 25}
    at = bounds.first_order_bias(constants, 1 / 12, 4)
    assert at == pytest.approx(7 / 36 * 0.7 / 2)
    assert 2 * at**2 <= 0.08 * 0.7**2 / 4  # so that (7) follows
    assert bounds.second_order_bias(constants, 0.1, 7) == pytest.approx(1.2 * 1.5 * 0.01 * 0.07)
    assert bounds.first_moment(constants, 0.3, 7) == pytest.approx(0.18 + 0.08 * 0.07)
    expected = 40 * 0.09 + 14 * 0.25 + 0.49 * (2 / 5 + 1 / 42)
    assert bounds.second_moment(constants, 0.3, 7, 5) == pytest.approx(expected)
    assert bounds.smoothness_at(constants, 0.1, 5.0) == pytest.approx(8 + 3)
    gap = bounds.iterations(constants, 0.1, 2.0, 0.5)
    assert gap == pytest.approx(1600 * 2 * (2 + 0.3 * 1.0) / 0.25)


def test_batches_keep_what_the_theorem_asks_for():
    constants, alpha, precision = Constants(2.0, 3.0, 50.0, 7.0, 40.0), 1 / 12, 3.0
    sizes = bounds.batches(constants, alpha, precision)
    bent = 3 * alpha / 2
    noise = 50**2 / sizes.tasks + 49 / (sizes.tasks * sizes.outer) + 49 / sizes.inner
    assert bounds.noise(constants, sizes) == pytest.approx(noise)
    assert math.sqrt(61 * (1 + bent * 50) * noise) <= precision
    assert 61 * bent * noise <= precision
    expected = max(math.sqrt(61 * (1 + bent * 50) * noise), 61 * bent * noise)
    assert bounds.floor(constants, alpha, sizes) == pytest.approx(expected)
    assert sizes.hessian == math.ceil(2 * alpha**2 * 40**2) == 23
    assert sizes.step_tasks == math.ceil((3 * alpha * 50 / 2) ** 2 / 2) == 20
    assert sizes.step_samples == math.ceil((2 * 3 * alpha * 7 / 2) ** 2) == 4
    least = bounds.batches(Constants(1, 1, 1e-9, 1e-9, 0), 0.1, 1.0)
    assert (least.tasks, least.inner, least.outer, least.hessian) == (20, 1, 1, 1)
