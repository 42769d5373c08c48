"""gymnasium's HalfCheetah-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import Floats, Robot


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(Robot):
    """A planar runner, 17 observed numbers, 6 torques. It cannot fall."""

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.05

    can_fall: ClassVar[bool] = False
    asset: ClassVar[str] = "half_cheetah.xml"
    hidden: ClassVar[int] = 1
    torso: ClassVar[int | None] = None
    camera: ClassVar[Mapping[str, float]] = {"distance": 2.9, "azimuth": 90.0, "elevation": -8.0}
    camera_height: ClassVar[float] = 0.68

    def healthy(self, qpos: Floats, qvel: Floats) -> NDArray[np.bool_]:
        return np.ones(len(qpos), dtype=np.bool_)
