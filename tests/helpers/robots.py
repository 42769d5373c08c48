"""Steps of robots made up by hand, and a robot and a task that are not in the package."""

from __future__ import annotations

import numpy as np

from envs.locomotion.robots.base import Motion, State
from envs.locomotion.step import judge


def moving(x_velocities):
    """Robots that run along x, at places and with velocities along y that no task here rewards."""
    velocity = np.stack([x_velocities, np.full(len(x_velocities), 9.0)], axis=1)
    return Motion(np.full_like(velocity, 7.0), velocity)


def judged(robot, family, task, velocity, action, height=0.5, forces=0.0, diverged=False):
    """Result of one step of a robot of 15 positions and 14 velocities, all 0 but the height."""
    qpos = np.zeros((1, 15))
    qpos[0, 2] = height
    state = State(
        qpos,
        qvel=np.zeros((1, 14)),
        fields={"xpos": np.zeros((1, 2, 3)), "cfrc_ext": np.full((1, 2, 6), forces)},
    )
    return judge(
        robot,
        family,
        np.array([task]),
        np.array([action]),
        motion=moving([velocity]),
        state=state,
        diverged=np.array([diverged]),
        before=np.full((1, 29 - robot.hidden), -5.0),
    )
