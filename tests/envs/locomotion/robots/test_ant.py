"""The ant: its reward and fall by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.locomotion.robots.ant import Ant
from envs.locomotion.tasks import Direction, GoalVelocity
from tests.helpers.robots import judged


def test_ant_reward_and_fall():
    robot = Ant(survival_bonus=1.05, contact_cost_weight=0.5)
    outcome = judged(robot, GoalVelocity((0, 3)), [3.0], 1.0, [2.0, 0.0], 0.1, forces=-7.0)
    # The bonus is paid in the step of the fall too; twelve forces are clipped to -1.
    assert outcome.rewards == pytest.approx([-2.0 - 0.005 * 4.0 + 1.05 - 0.5 * 12])
    assert outcome.terminations[0]
    parts = [value for key, value in outcome.details.items() if key.startswith("reward_")]
    assert sum(parts) == pytest.approx(outcome.rewards)
    for height, fallen in [(0.2, False), (1.0, False), (1.01, True), (0.19, True), (np.nan, True)]:
        assert judged(Ant(), Direction(), 0, 1.0, [0.0], height).terminations[0] == fallen
