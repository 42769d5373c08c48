"""Robots that hop or walk in the plane of x and height, and fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .base import Floats, State
from .legged import Legged


@dataclass(frozen=True, kw_only=True)
class Planar(Legged):
    """The base of robots that hop or walk in the plane of x and height, and fall."""

    reset_noise_scale: float = 0.005
    """Half-width of the uniform noise on positions and on velocities."""
    survival_bonus: float = 1.0
    healthy_angle_range: tuple[float, float]
    """Pitches of the torso, in radians, between which the robot stands."""

    uniform_noise: ClassVar[bool] = True
    largest_velocity: ClassVar[float] = 10.0
    """Observed velocities are clipped to ± this."""

    def observation(self, state: State) -> Floats:
        xp = array_namespace(state.qvel)
        clipped = xp.clip(state.qvel, -self.largest_velocity, self.largest_velocity)
        return xp.concat([self.seen_positions(state), clipped], axis=1)

    def healthy(self, state: State) -> NDArray[np.bool_]:
        height, angle = state.qpos[:, 1], state.qpos[:, 2]
        (lowest, highest), (least, most) = self.healthy_z_range, self.healthy_angle_range
        return (height > lowest) & (height < highest) & (angle > least) & (angle < most)
