"""Numbers drawn from ranges to train and to test on."""

from __future__ import annotations

import numpy as np
import pytest

from envs.core.ranges import Ranges

HOLED = ((0.0, 1.0), (3.0, 6.0))


def test_bounds_hold_both_ranges_and_the_middle_is_in_no_hole():
    ranges = Ranges("x", HOLED, (-2.0, 0.5))
    assert (ranges.low, ranges.high, ranges.middle) == (-2.0, 6.0, 0.5)


def test_draws_are_uniform_on_all_intervals():
    drawn = Ranges("x", HOLED).sample(4000, np.random.default_rng(0), "train", balanced=False)
    assert drawn.shape == (4000,)
    counts = np.histogram(drawn, [0.0, 1.0, 3.0, 4.0, 5.0, 6.0])[0] / 4000
    assert counts[[0, 2, 3, 4]] == pytest.approx(0.25, abs=0.03)
    assert counts[1] == 0.0


@pytest.mark.parametrize(("split", "low"), [("train", 0.0), ("validation", 0.0), ("test", 2.0)])
@pytest.mark.parametrize("balanced", [False, True])
def test_only_the_test_split_has_its_own_range(split, low, balanced):
    ranges = Ranges("x", (0.0, 1.0), (2.0, 3.0))
    drawn = ranges.sample(500, np.random.default_rng(0), split, balanced=balanced)
    assert low <= drawn.min() < low + 0.02
    assert low + 0.98 < drawn.max() <= low + 1.0


def test_balanced_draws_are_one_of_each_part_in_random_order():
    rng = np.random.default_rng(0)
    ranges = Ranges("x", HOLED)
    parts = np.array([0.0, 1.0, 4.0, 5.0, 6.0])  # a quarter each, but for the hole
    orders = set()
    for _ in range(50):
        drawn = ranges.sample(4, rng, "train", balanced=True)
        assert np.histogram(drawn, parts)[0].tolist() == [1, 1, 1, 1]
        assert not ((drawn > 1.0) & (drawn < 3.0)).any()
        orders.add(tuple(np.argsort(drawn).tolist()))
    assert len(orders) > 12  # of 24
    many = np.concatenate([ranges.sample(3, rng, "train", balanced=True) for _ in range(900)])
    assert np.histogram(many, parts)[0] / len(many) == pytest.approx(0.25, abs=0.03)


def test_a_range_of_one_number_and_no_draws():
    rng = np.random.default_rng(0)
    for balanced in (False, True):
        assert (Ranges("x", (0.5, 0.5)).sample(3, rng, "test", balanced=balanced) == 0.5).all()
        assert Ranges("x", HOLED).sample(0, rng, "train", balanced=balanced).shape == (0,)


def test_errors_say_which_range():
    with pytest.raises(ValueError, match=r"^goals has its lower end first"):
        Ranges("goals", (1.0, 0.0))
    with pytest.raises(ValueError, match=r"^test_goals is"):
        Ranges("goals", (0.0, 1.0), (0.0, np.nan))
    with pytest.raises(ValueError, match="split is 'dev'"):
        Ranges("goals", (0.0, 1.0)).sample(1, np.random.default_rng(0), "dev", balanced=False)
