"""Iterations against precision."""

import pytest
import torch

from runners.studies.convergence import bounds, iterations
from runners.studies.convergence.descent import exactly, first_below

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("power", iterations.POWERS)
def test_iterations_grow_with_the_expected_power(power):
    """β = β̃, with which 2,000 steps go as far as 24,000 of the rule's β̃/12."""
    counts = iterations.measured(power, 2000, share=1.0)
    assert counts.exponent == pytest.approx((power + 2) / (power + 1), abs=0.02)
    assert len(counts.iterations) >= 5
    assert min(counts.iterations) >= 500
    pairs = zip(counts.iterations, counts.bound, strict=True)
    assert all(0 < 12.2 * count <= bound for count, bound in pairs)


@pytest.mark.parametrize("power", iterations.POWERS)
def test_the_rule_takes_twelve_times_as_many(power):
    family = iterations.family(power)
    size = bounds.largest_step_size(family.constants)
    start = torch.tensor([iterations.START], dtype=torch.float64)
    reached = exactly(family, "maml", size, start, 40, 1.0).norms[-1:]
    rule = exactly(family, "maml", size, start, 500, bounds.STEP_SHARES["maml"]).norms
    count = int(first_below(rule, reached))
    assert count == pytest.approx(12 * 40, rel=0.02)
    gap = family.value(start, size) - family.infimum
    assert count <= bounds.iterations(family.constants, size, gap, float(reached))


def test_samples_in_the_theorems_batches_do_what_all_data_do():
    result = iterations.by_theorem()
    assert result.reached <= result.precision
    assert result.iterations <= result.bound
    assert result.iterations == pytest.approx(result.iterations_with_all_data, rel=0.1)
