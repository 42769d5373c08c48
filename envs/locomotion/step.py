"""Observation, reward and end of a robot's step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.step import Floats, Outcome
from ..core.tasks import Tasks
from .robots.base import Physics, Robot


def judge_robots(
    robot: Robot,
    family: Tasks,
    tasks: NDArray[Any],
    actions: Floats,
    displacement_rate: Floats,
    physics: Physics,
    diverged: NDArray[np.bool_],
    before: Floats,
) -> Outcome:
    """Observation, reward and end of a step of m robots.

    Args:
        robot: which robot.
        family: the task family.
        tasks: a task each, `[m, *space.shape]`.
        actions: as given, `[m, A]`, in C order.
        displacement_rate: of the torso along x over the step, in meters a second, `[m]`.
        physics: after the step.
        diverged: where the simulation blew up in this step, `[m]`.
        before: observations before the step, `[m, D]`.
    """
    x_velocity = robot.x_velocity(physics, displacement_rate)
    details = {
        "x_velocity": x_velocity,
        "reward_forward": family.reward(tasks, x_velocity),
        "reward_ctrl": -robot.ctrl_cost(actions),
    }
    rewards = details["reward_forward"] + details["reward_ctrl"]
    if robot.can_fall:
        details["reward_survive"] = np.full(len(actions), robot.survival_bonus)
        details["reward_contact"] = -robot.contact_cost(physics.cfrc_ext)
        rewards = rewards + details["reward_survive"] + details["reward_contact"]
    observations = robot.observation(physics)
    fallen = ~robot.healthy(physics.qpos, physics.qvel)
    if diverged.any():
        # The simulator has put these back to its default state: nothing it says now happened.
        observations[diverged] = before[diverged]
        rewards[diverged] = 0.0
        fallen &= ~diverged
        for values in details.values():
            values[diverged] = 0.0
    return Outcome(observations, rewards, fallen, diverged, details)
