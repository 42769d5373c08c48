"""gymnasium's Hopper-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .base import State
from .planar import Planar


@dataclass(frozen=True, kw_only=True)
class Hopper(Planar):
    """A leg that hops along x, 11 observed numbers, 3 torques. A simulator step is 0.002 s."""

    frame_skip: int = 4
    ctrl_cost_weight: float = 0.001
    healthy_z_range: tuple[float, float] = (0.7, float("inf"))
    healthy_angle_range: tuple[float, float] = (-0.2, 0.2)
    healthy_state_range: tuple[float, float] = (-100.0, 100.0)
    """Values between which all other positions and velocities are while it stands."""

    asset: ClassVar[str] = "hopper.xml"
    camera: ClassVar[Mapping[str, float]] = {"distance": 3.3, "azimuth": 90.0, "elevation": -10.0}
    camera_height: ClassVar[float] = 1.1

    def healthy(self, state: State) -> NDArray[np.bool_]:
        xp, (low, high) = array_namespace(state.qpos), self.healthy_state_range
        rest = xp.concat([state.qpos[:, 2:], state.qvel], axis=1)
        return super().healthy(state) & xp.all((rest > low) & (rest < high), axis=1)
