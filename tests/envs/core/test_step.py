"""Actions of many environments, checked at once."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from envs.core.step import check_actions

BOX = spaces.Box(-1, 1, (2,), np.float32)
DISCRETE = spaces.Discrete(3, start=2)


def test_actions_come_as_float64_in_c_order_and_may_leave_their_bounds():
    given = np.asfortranarray(np.full((3, 2), 7, np.float32))
    checked = check_actions(given, BOX, 3)
    assert checked.dtype == np.float64
    assert checked.flags.c_contiguous
    assert (checked == 7).all()
    assert check_actions(np.array([4, 2], np.uint8), DISCRETE, 2).dtype == np.int64


@pytest.mark.parametrize(
    ("actions", "space", "message"),
    [
        (np.zeros((2, 3)), BOX, r"shape \(2, 3\), expected \(2, 2\)"),
        ([[0, 0], [0, np.inf]], BOX, "environment 1 got a non-finite action"),
        ([2, 5], DISCRETE, "environment 1 got the action 5; its actions are the integers from 2 "),
        ([1, 2], DISCRETE, "environment 0 got the action 1"),
        ([2.0, 3.0], DISCRETE, "came as float64"),
        ([[2, 3]], DISCRETE, r"shape \(1, 2\), expected \(2,\)"),
    ],
)
def test_bad_actions_are_refused(actions, space, message):
    with pytest.raises(ValueError, match=message):
        check_actions(actions, space, 2)
