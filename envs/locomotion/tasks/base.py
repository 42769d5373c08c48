"""The base of the task families of robots."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from ...core.tasks import Tasks
from ..goal import Goal
from ..robots.base import Motion

Floats = NDArray[np.float64]


class LocomotionTasks(Tasks[Motion]):
    """A family of tasks for robots: rewards where a step led, and how fast.

    Any robot serves, so a family whose reward looks at more than the velocity along x is this
    class alone. `reward` gets arrays of whatever library the simulation's state is of, and tasks
    in the same. A family of worlds, rather than of goals, gives models to simulations too
    (`fields`).
    """

    def of(self, model: mujoco.MjModel) -> LocomotionTasks:
        """The family for a robot of this model; itself, unless its tasks depend on the model."""
        return self

    def goal(self, task: np.ndarray) -> Goal:
        """What a task `[*space.shape]` asks for, for frames to show."""
        return Goal()

    def fields(self, tasks: np.ndarray) -> Mapping[str, Floats]:
        """Fields of MjModel that tasks set, by name, `[m, ...]` each.

        Args:
            tasks: `[m, *space.shape]`.
        """
        return {}

    @property
    def derive(self) -> bool:
        """False to leave alone what follows from `fields` in a model."""
        return True
