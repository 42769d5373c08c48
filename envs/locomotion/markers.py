"""Arrows above a robot's torso, or a disk where it is to go, that show its task, as MuJoCo geoms.

Pure functions.
"""

from __future__ import annotations

from typing import TypedDict

import mujoco
import numpy as np
from numpy.typing import NDArray

from .goal import Goal


class Marker(TypedDict):
    """Keywords of gymnasium's `viewer.add_marker`, which are those of `mujoco.mjv_initGeom` too."""

    type: mujoco.mjtGeom
    size: NDArray[np.float64]  # [3], in meters
    pos: NDArray[np.float64]  # [3], in meters
    mat: NDArray[np.float64]  # [9], a rotation matrix by rows
    rgba: NDArray[np.float64]  # [4]


GREEN = (0.1, 0.85, 0.25, 0.65)
"""The goal's color, translucent."""
ORANGE = (1.0, 0.5, 0.0, 0.95)
"""The velocity's."""
SCALE = 0.4
"""Length of an arrow in meters, for each meter a second."""
LONGEST = 1.1
"""Length in meters. Where an arrow would be longer, both are drawn to a smaller scale."""
HEIGHTS = (0.65, 0.5)
"""Heights of the goal and of the velocity above the torso, in meters."""
DIRECTION = 0.9
"""Length in meters of the arrow of a goal without a size."""
FASTEST = 0.8
"""Length in meters of the arrow of a family's fastest goal, at least."""
_WIDTH = 0.04
_SMALL = 0.02  # an arrow shorter than this, in meters, is a ball
_DISK, _FLAT = 0.3, 0.01  # radius and half the height of a position, in meters


def goal_markers(
    goal: Goal,
    velocity: NDArray[np.float64],
    torso: NDArray[np.float64],
    fastest: float = 0.0,
) -> tuple[Marker, ...]:
    """What shows a goal, and beside a goal velocity the velocity that the robot has.

    Args:
        goal: a velocity is an arrow from above the torso, beside one of the robot's own; a
            direction is one arrow across it; a position is a disk on the ground.
        velocity: along x and y, in meters a second, `[2]`.
        torso: its position, `[3]`, in meters.
        fastest: the fastest goal of the family, in meters a second; 0 if that is not known. Where
            it is slow, arrows are drawn to a larger scale.
    """
    above, below = (torso + np.array([0.0, 0.0, height]) for height in HEIGHTS)
    if goal.direction is not None:
        across = DIRECTION * goal.direction
        return (arrow(above - [*across / 2, 0.0], across, GREEN),)
    if goal.position is not None:
        return (disk(goal.position, GREEN),)
    if goal.velocity is None:
        return ()
    scale = max(SCALE, FASTEST / fastest) if fastest else SCALE
    faster = max(np.linalg.norm(goal.velocity), np.linalg.norm(velocity))
    if faster:
        scale = min(scale, LONGEST / faster)
    return arrow(above, goal.velocity * scale, GREEN), arrow(below, velocity * scale, ORANGE)


def arrow(
    start: NDArray[np.float64], along: NDArray[np.float64], rgba: tuple[float, ...]
) -> Marker:
    """An arrow over the ground, or a ball where it would be nearly as short as that.

    Args:
        start: `[3]`, in meters.
        along: from start to tip, in x and y, `[2]`, in meters.
        rgba: its color.
    """
    length = float(np.linalg.norm(along))
    if length < _SMALL:
        kind, size, (x, y) = mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 1.3 * _WIDTH), (1.0, 0.0)
    else:
        kind, size = mujoco.mjtGeom.mjGEOM_ARROW, np.array([_WIDTH, _WIDTH, 2 * length])
        x, y = along / length
    # MuJoCo draws an arrow half as long as its size, along its own z axis: the last column.
    mat = np.array([[0.0, -y, x], [0.0, x, y], [-1.0, 0.0, 0.0]])
    return {"type": kind, "size": size, "pos": start, "mat": mat.ravel(), "rgba": np.array(rgba)}


def disk(center: NDArray[np.float64], rgba: tuple[float, ...]) -> Marker:
    """A disk on the ground around `center`, x and y, `[2]`, in meters."""
    return {
        "type": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "size": np.array([_DISK, _FLAT, 0.0]),  # radius, then half the height
        "pos": np.array([*center, _FLAT]),
        "mat": np.eye(3).ravel(),
        "rgba": np.array(rgba),
    }
