"""gymnasium's HalfCheetah-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .base import Robot


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(Robot):
    """A planar runner, 17 observed numbers, 6 torques. It cannot fall.

    A simulator step is 0.01 s. gymnasium's own task has a control cost of 0.1, the MAML paper's
    0.05 at `frame_skip=1`.
    """

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.05

    asset: ClassVar[str] = "half_cheetah.xml"
    camera: ClassVar[Mapping[str, float]] = {"distance": 2.9, "azimuth": 90.0, "elevation": -8.0}
    camera_height: ClassVar[float] = 0.68
