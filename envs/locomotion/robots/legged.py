"""Robots that stand on legs, and fall."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from .base import Floats, Robot, State, flat


@dataclass(frozen=True, kw_only=True)
class Legged(Robot):
    """The base of robots that stand on legs: paid for every step in which they do."""

    survival_bonus: float
    """Paid every step but the one of a fall; with `fall_pays` in that one too."""
    healthy_z_range: tuple[float, float]
    """Heights of the torso, in meters, between which the robot stands."""

    def rewards(self, actions: Floats, state: State) -> dict[str, Floats]:
        return super().rewards(actions, state) | {
            "reward_survive": self.survival(self.survival_bonus, state)
        }


@dataclass(frozen=True, kw_only=True)
class Spatial(Legged):
    """The base of those that move in space, for which contact forces can be counted.

    Contact forces on all bodies cost a batch about 15 µs a simulation and step, where they are
    observed or paid for.
    """

    contact_cost_weight: float = 0.0
    """Weight of the squared contact forces, in the units of the reward."""
    include_cfrc_ext_in_observation: bool = False
    """Observe the contact forces on each body, 78 numbers more; those of the world (body 0) are
    left out."""

    @property
    def reads(self) -> tuple[str, ...]:
        contacts = self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0
        return ("cfrc_ext",) if contacts else ()

    def rewards(self, actions: Floats, state: State) -> dict[str, Floats]:
        free = self.contact_cost_weight == 0.0
        xp, one = array_namespace(state.qpos), state.qpos[:, 0]
        cost = xp.zeros_like(one) if free else self.contact_cost(state)
        return super().rewards(actions, state) | {"reward_contact": -cost}

    def contact_cost(self, state: State) -> Floats:
        """contact_cost_weight Σf², `[m]`, over the forces on every body."""
        xp = array_namespace(state.qpos)
        squares = xp.sum(xp.square(flat(state.fields["cfrc_ext"])), axis=-1)
        return self.contact_cost_weight * squares
