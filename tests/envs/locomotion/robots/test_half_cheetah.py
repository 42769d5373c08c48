"""The half cheetah: its reward by hand, and equality with gymnasium."""

from __future__ import annotations

import pytest

from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.tasks import GoalVelocity
from tests.helpers.robots import judged


def test_half_cheetah_reward():
    outcome = judged(HalfCheetah(), GoalVelocity((0, 2)), [1.0], 1.25, [1.0, -2.0])
    assert outcome.rewards == pytest.approx([-0.25 - 0.05 * 5.0])
    assert not outcome.terminations[0]
    assert set(outcome.details) == {"x_velocity", "y_velocity", "reward_forward", "reward_ctrl"}
