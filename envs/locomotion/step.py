"""Observation, reward and end of a robot's step, whatever simulated it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.step import Floats, StepResult
from .robots.base import Motion, Robot, State
from .tasks import LocomotionTasks


def judge(
    robot: Robot,
    family: LocomotionTasks,
    tasks: np.ndarray,
    actions: Floats,
    motion: Motion,
    state: State,
    diverged: NDArray[np.bool_],
    before: Floats,
) -> StepResult:
    """Observation, reward and end of a step of m robots.

    Args:
        robot: which robot.
        family: the task family.
        tasks: a task each, `[m, *space.shape]`.
        actions: as given, `[m, A]`, in C order.
        motion: over the step.
        state: after the step.
        diverged: where the simulation blew up in this step, `[m]`.
        before: observations before the step, `[m, D]`.
    """
    forward = family.reward(tasks, motion)
    parts = robot.rewards(actions, state)
    x_velocity, y_velocity = motion.velocity.T.copy()
    details = {"x_velocity": x_velocity, "y_velocity": y_velocity, "reward_forward": forward}
    details |= parts
    # One after another: a sum in another order is another number.
    rewards = np.array(forward)
    for part in parts.values():
        rewards += part
    observations = robot.observation(state)
    ended = robot.ended(state)
    if diverged.any():
        # The simulator has put these back to its default state: nothing it says now happened.
        observations[diverged] = before[diverged]
        rewards[diverged] = 0.0
        ended &= ~diverged
        for values in details.values():
            values[diverged] = 0.0
    return StepResult(observations, rewards, ended, diverged, details)
