"""Arguments that are refused, by name."""

from __future__ import annotations

import numpy as np
import pytest

from envs.core.arguments import (
    check_bool,
    check_count,
    check_interval,
    check_range,
    check_scale,
)


def test_good_arguments_come_through():
    assert check_bool("b", True) is True
    assert check_count("n", np.int32(3)) == 3
    assert check_scale("s", 0) == 0.0
    assert check_interval("i", (1, 1)) == (1.0, 1.0)
    np.testing.assert_array_equal(check_range("r", (0, 1)), [[0.0, 1.0]])
    np.testing.assert_array_equal(check_range("r", ((0, 1), (2, 3))), [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (check_count, [0, -1, 1.0, True, "3", None]),
        (check_scale, [-0.1, np.nan, np.inf]),
        (check_interval, [(2, 1), (0, np.inf), (1,), 3.0, ("a", 1)]),
        (check_range, [(2, 1), (0, np.inf), (1,), 3.0, ((0, 1), (3, 2)), ((0, 1), (1, 2, 3))]),
    ],
)
def test_bad_arguments_are_refused_by_name(check, bad):
    for value in bad:
        with pytest.raises(ValueError, match="the_name"):
            check("the_name", value)


@pytest.mark.parametrize("bad", ["false", 0, None])
def test_a_truth_value_is_true_or_false(bad):
    with pytest.raises(TypeError, match=r"balanced is .*; it is True or False"):
        check_bool("balanced", bad)
