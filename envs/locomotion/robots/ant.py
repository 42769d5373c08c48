"""gymnasium's Ant-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import Floats, Robot


@dataclass(frozen=True, kw_only=True)
class Ant(Robot):
    """A four-legged walker, 27 observed numbers (105 with contact forces), 8 torques."""

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.005
    survival_bonus: float = 0.05

    can_fall: ClassVar[bool] = True
    asset: ClassVar[str] = "ant.xml"
    hidden: ClassVar[int] = 2
    # Derived positions lag qpos by one simulator step; so does the velocity, as in gymnasium.
    torso: ClassVar[int | None] = 1
    camera: ClassVar[Mapping[str, float]] = {"distance": 4.0, "azimuth": 90.0, "elevation": -22.0}
    camera_height: ClassVar[float] = 0.7
    healthy_z: ClassVar[tuple[float, float]] = (0.2, 1.0)
    """Heights of the torso, in meters, between which the ant stands."""

    def healthy(self, qpos: Floats, qvel: Floats) -> NDArray[np.bool_]:
        low, high = self.healthy_z
        finite = np.isfinite(qpos).all(axis=1) & np.isfinite(qvel).all(axis=1)
        return finite & (qpos[:, 2] >= low) & (qpos[:, 2] <= high)
