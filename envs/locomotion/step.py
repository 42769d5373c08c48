"""Observation, reward and end of a robot's step, whatever simulated it and wherever."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace
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

    Arrays are of one library, NumPy's or torch's, and so is what comes out. Nothing here looks at
    a value, which on a GPU would be to wait for it.

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
    xp = array_namespace(motion.velocity)
    parts = {"reward_forward": family.reward(tasks, motion)} | robot.rewards(actions, state)
    # One after another: a sum in another order is another number.
    rewards = sum(parts.values())
    details = {"x_velocity": motion.velocity[:, 0], "y_velocity": motion.velocity[:, 1]} | parts
    # The simulator has put those that diverged back to its default state, or has numbers that are
    # not finite: nothing it says now happened.
    return StepResult(
        xp.where(diverged[:, None], before, robot.observation(state)),
        xp.where(diverged, 0.0, rewards),
        robot.ended(state) & ~diverged,
        diverged,
        {name: xp.where(diverged, 0.0, values) for name, values in details.items()},
    )
