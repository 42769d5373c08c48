"""gymnasium's Humanoid-v5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from .base import Floats, State, flat
from .legged import Spatial


@dataclass(frozen=True, kw_only=True)
class Humanoid(Spatial):
    """A two-legged body in space, 45 observed numbers (348 with all that can be), 17 torques.

    A simulator step is 0.003 s. gymnasium's own task observes 348 numbers and has a contact cost
    of 5e-7; both are off here, since contact forces are not computed in a batch's own threads.
    """

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.01
    """Half-width of the uniform noise on positions and on velocities."""
    survival_bonus: float = 5.0
    healthy_z_range: tuple[float, float] = (1.0, 2.0)
    largest_contact_cost: float = 10.0
    """The contact cost of a step is at most this."""
    include_cinert_in_observation: bool = False
    """Observe inertia and mass of each body about the center of mass, 130 numbers more."""
    include_cvel_in_observation: bool = False
    """Observe the velocity of each body about the center of mass, 78 numbers more."""
    include_qfrc_actuator_in_observation: bool = False
    """Observe the forces of the actuators, 17 numbers more."""

    uniform_noise: ClassVar[bool] = True
    asset: ClassVar[str] = "humanoid.xml"
    hidden: ClassVar[int] = 2
    camera: ClassVar[Mapping[str, float]] = {"distance": 3.7, "azimuth": 90.0, "elevation": -15.0}
    camera_height: ClassVar[float] = 1.1
    first_body: ClassVar[int] = 1
    """The first body of which inertia, velocity and forces are observed; 0 is the world."""
    first_actuated: ClassVar[int] = 6
    """The first degree of freedom of which forces are observed; those of the body as a whole, which
    has no actuator, come before."""

    @property
    def reads(self) -> tuple[str, ...]:
        wanted = {
            "cinert": self.include_cinert_in_observation,
            "cvel": self.include_cvel_in_observation,
            "qfrc_actuator": self.include_qfrc_actuator_in_observation,
        }
        chosen = (name for name, is_wanted in wanted.items() if is_wanted)
        return ("xipos", *chosen, *super().reads)

    @cached_property
    def masses(self) -> Floats:
        """Masses of the bodies, in kilograms, `[nbody, 1]`."""
        return self.model().body_mass[:, None].copy()

    def observation(self, state: State) -> Floats:
        parts = [self.seen_positions(state), state.qvel]
        if self.include_cinert_in_observation:
            parts.append(flat(state.fields["cinert"][:, self.first_body :]))
        if self.include_cvel_in_observation:
            parts.append(flat(state.fields["cvel"][:, self.first_body :]))
        if self.include_qfrc_actuator_in_observation:
            parts.append(state.fields["qfrc_actuator"][:, self.first_actuated :])
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(state.fields["cfrc_ext"][:, self.first_body :]))
        return array_namespace(state.qpos).concat(parts, axis=1)

    def position(self, state: State) -> Floats:
        """Position of the center of mass, which lags qpos by one simulator step."""
        places = state.fields["xipos"]
        xp = array_namespace(places)
        masses = _brought(tuple(self.masses[:, 0].tolist()), xp, device(places))
        return (xp.sum(masses * places, axis=1) / xp.sum(masses))[:, :2]

    def contact_cost(self, state: State) -> Floats:
        """contact_cost_weight Σf², `[m]`, over the forces on every body, bounded."""
        cost = super().contact_cost(state)
        return array_namespace(cost).clip(cost, None, self.largest_contact_cost)

    def healthy(self, state: State) -> NDArray[np.bool_]:
        low, high = self.healthy_z_range
        return (state.qpos[:, 2] > low) & (state.qpos[:, 2] < high)


@lru_cache(maxsize=8)
def _brought(masses: tuple[float, ...], xp: Any, where: Any) -> Floats:
    """Masses as an array `[nbody, 1]` of a library, on a device; brought there once."""
    return xp.asarray(masses, dtype=xp.float64, device=where)[:, None]
