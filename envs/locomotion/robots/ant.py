"""gymnasium's Ant-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .base import Floats, State, flat
from .legged import Spatial


@dataclass(frozen=True, kw_only=True)
class Ant(Spatial):
    """A four-legged walker, 27 observed numbers, 8 torques.

    A simulator step is 0.01 s; `frame_skip=2` has the time step of the MAML paper. gymnasium's own
    task has a control cost of 0.5, the paper's 0.005. Both have a contact cost of 5e-4 on forces
    clipped to ±1, and observe these forces (105 numbers).
    """

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.005
    survival_bonus: float = 0.05
    """Paid every step, the one that ends the episode included. The paper's, to which it adds 1
    where the task is a velocity."""
    healthy_z_range: tuple[float, float] = (0.2, 1.0)
    asset: ClassVar[str] = "ant.xml"
    hidden: ClassVar[int] = 2
    camera: ClassVar[Mapping[str, float]] = {"distance": 4.0, "azimuth": 90.0, "elevation": -22.0}
    fall_pays: ClassVar[bool] = True
    first_body: ClassVar[int] = 1
    """The first body of which forces are observed; 0 is the world."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ("xpos", *super().reads)

    def observation(self, state: State) -> Floats:
        xp = array_namespace(state.qpos)
        parts = [self.seen_positions(state), state.qvel]
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(xp.clip(state.fields["cfrc_ext"][:, self.first_body :], -1.0, 1.0)))
        return xp.concat(parts, axis=1)

    def position(self, state: State) -> Floats:
        # Derived positions lag qpos by one simulator step; so does the velocity, as in gymnasium.
        torso = state.fields["xpos"][:, self.torso_index, :2]
        return array_namespace(torso).asarray(torso, copy=True)

    def contact_cost(self, state: State) -> Floats:
        """contact_cost_weight Σ clip(f, ±1)², `[m]`, over the forces on every body."""
        xp = array_namespace(state.qpos)
        clipped = flat(xp.clip(state.fields["cfrc_ext"], -1.0, 1.0))
        return self.contact_cost_weight * xp.sum(xp.square(clipped), axis=-1)

    def healthy(self, state: State) -> NDArray[np.bool_]:
        xp, (low, high) = array_namespace(state.qpos), self.healthy_z_range
        finite = [xp.all(xp.isfinite(each), axis=1) for each in (state.qpos, state.qvel)]
        return finite[0] & finite[1] & (state.qpos[:, 2] >= low) & (state.qpos[:, 2] <= high)
