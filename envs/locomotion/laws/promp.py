"""The robots of ProMP, as its authors' code observed and rewarded them.

Rothfuss et al. 2019 (*ProMP: Proximal Meta-Policy Search*); the laws are those of the files
`meta_policy_search/envs/mujoco_envs/*.py`. docs/families.md has the table, and what in those files
is left out here as a slip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..robots.ant import Ant
from ..robots.base import State
from ..robots.humanoid import Humanoid
from ..robots.walker2d import Walker2d


@dataclass(frozen=True, kw_only=True)
class ProMPAnt(Ant):
    """111 observed numbers: positions, velocities, contact forces clipped to ±1 (14 bodies, 6
    each, the world's included)."""

    ctrl_cost_weight: float = 0.5
    survival_bonus: float = 1.0
    healthy_z_range: tuple[float, float] = (0.0, 1.0)
    contact_cost_weight: float = 0.5e-3
    include_cfrc_ext_in_observation: bool = True

    first_body: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class ProMPWalker2d(Walker2d):
    """The walker whose right foot grips half as well as its left, dt 0.016 s.

    The survival bonus is paid in the step of a fall too.
    """

    frame_skip: int = 8

    asset: ClassVar[str] = "walker2d.xml"
    fall_pays: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ProMPHumanoid(Humanoid):
    """376 observed numbers, those of the world and of the root included.

    The survival bonus is paid in the step of a fall too.
    """

    contact_cost_weight: float = 0.5e-6
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = True

    fall_pays: ClassVar[bool] = True
    first_body: ClassVar[int] = 0
    first_actuated: ClassVar[int] = 0

    def healthy(self, state: State) -> NDArray[np.bool_]:
        """The bounds of the height are healthy here, and are not in gymnasium's."""
        low, high = self.healthy_z_range
        return (state.qpos[:, 2] >= low) & (state.qpos[:, 2] <= high)
