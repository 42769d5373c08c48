"""Goals on a plane."""

from __future__ import annotations

import numpy as np
import pytest

from envs.navigation.tasks import GoalPoint


def test_goal_point_pays_minus_the_distance():
    paid = GoalPoint().reward(np.array([[0.3, 0.4]]), np.array([[0.0, 0.0]]))
    assert paid == pytest.approx([-0.5])
