"""gymnasium's Walker2d-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .planar import Planar


@dataclass(frozen=True, kw_only=True)
class Walker2d(Planar):
    """Two legs that walk along x, 17 observed numbers, 6 torques. A simulator step is 0.002 s."""

    frame_skip: int = 4
    ctrl_cost_weight: float = 0.001
    healthy_z_range: tuple[float, float] = (0.8, 2.0)
    healthy_angle_range: tuple[float, float] = (-1.0, 1.0)

    asset: ClassVar[str] = "walker2d_v5.xml"
    camera: ClassVar[Mapping[str, float]] = {"distance": 3.5, "azimuth": 90.0, "elevation": -10.0}
    camera_height: ClassVar[float] = 1.0
