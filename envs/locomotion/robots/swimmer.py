"""gymnasium's Swimmer-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from array_api_compat import array_namespace

from .base import Floats, Robot, State


@dataclass(frozen=True, kw_only=True)
class Swimmer(Robot):
    """Three links that swim in the plane, 8 observed numbers, 2 torques. It cannot fall.

    A simulator step is 0.01 s.
    """

    frame_skip: int = 4
    ctrl_cost_weight: float = 0.0001
    reset_noise_scale: float = 0.1
    """Half-width of the uniform noise on positions and on velocities."""

    uniform_noise: ClassVar[bool] = True
    asset: ClassVar[str] = "swimmer.xml"
    hidden: ClassVar[int] = 2
    camera: ClassVar[Mapping[str, float]] = {"distance": 4.5, "azimuth": 90.0, "elevation": -50.0}
    camera_height: ClassVar[float] = 0.0

    def position(self, state: State) -> Floats:
        return array_namespace(state.qpos).asarray(state.qpos[:, :2], copy=True)
