"""Task families of robots: one kind a file."""

from ..goal import Goal
from .base import LocomotionTasks
from .direction import Direction, PlaneDirection
from .dynamics import Dynamics
from .position import GoalPosition
from .velocity import GoalVelocity

__all__ = [
    "Direction",
    "Dynamics",
    "Goal",
    "GoalPosition",
    "GoalVelocity",
    "LocomotionTasks",
    "PlaneDirection",
]
