"""The robots of PEARL, as its authors' code observed and rewarded them.

Rakelly et al. 2019 (*Efficient Off-Policy Meta-RL via Probabilistic Context Variables*); the laws
are those of the files `rlkit/envs/*.py` of `katerakelly/oyster`, which VariBAD took over. Its
worlds are those of rand_param_envs (`dennisl88`), whose models have a time step of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from array_api_compat import array_namespace

from ..robots.ant import Ant
from ..robots.base import Floats, State
from ..robots.half_cheetah import HalfCheetah
from ..robots.hopper import Hopper
from ..robots.walker2d import Walker2d


@dataclass(frozen=True, kw_only=True)
class PEARLHalfCheetah(HalfCheetah):
    """20 observed numbers: positions but for x, velocities, and x, y, z of the torso."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ("xpos",)

    def observation(self, state: State) -> Floats:
        torso = state.fields["xpos"][:, self.torso_index]
        parts = [self.seen_positions(state), state.qvel, torso]
        return array_namespace(state.qpos).concat(parts, axis=1)


@dataclass(frozen=True, kw_only=True)
class PEARLAnt(Ant):
    """27 observed numbers, without contact forces, which cost all the same."""

    ctrl_cost_weight: float = 0.5
    survival_bonus: float = 1.0
    contact_cost_weight: float = 0.5e-3


@dataclass(frozen=True, kw_only=True)
class RandParamsHopper(Hopper):
    """The hopper of rand_param_envs, dt 0.016 s.

    It is paid for being alive in its last step too.
    """

    time_step: ClassVar[float | None] = 0.004
    fall_pays: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class RandParamsWalker2d(Walker2d):
    """The walker of rand_param_envs, dt 0.016 s, whose right foot grips half as well as its left.

    It is paid for being alive in its last step too.
    """

    asset: ClassVar[str] = "walker2d.xml"
    time_step: ClassVar[float | None] = 0.004
    fall_pays: ClassVar[bool] = True
