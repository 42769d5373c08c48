"""The robots of the MAML paper, as its authors' code simulated and observed them.

What that code (rllab's) does otherwise than gymnasium's v5: an action is one simulator step;
positions, velocities and contact forces are those of the state that the step led to; the velocity
is the center of mass's, at that moment; both robots see their center of mass, where they are on
the plane included. docs/maml_paper_environments.md has the whole list, and what differs still.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import mujoco
import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .. import mujoco_utils
from ..robots.ant import Ant
from ..robots.base import Floats, Robot, State, flat
from ..robots.half_cheetah import HalfCheetah

_S = mujoco.mjtSensor
_SENSORS = {
    "com": _S.mjSENS_SUBTREECOM,
    "com_velocity": _S.mjSENS_SUBTREELINVEL,
    "x_axis": _S.mjSENS_FRAMEXAXIS,
    "y_axis": _S.mjSENS_FRAMEYAXIS,
    "z_axis": _S.mjSENS_FRAMEZAXIS,
    # Nobody reads it: a sensor of its kind makes the engine compute the contact forces, in its own
    # threads, which a batch does not do otherwise.
    "acceleration": _S.mjSENS_FRAMELINACC,
}
"""Sensors of the torso, three numbers each."""
_COM, _COM_VELOCITY = slice(0, 3), slice(3, 6)
_AXES = slice(6, 15)
"""The columns of the rotation matrix, one after another."""


@dataclass(frozen=True, kw_only=True)
class PaperRobot(Robot):
    """The base of the paper's robots."""

    frame_skip: int = 1

    position_noise: ClassVar[float] = 0.01
    velocity_noise: ClassVar[float] = 0.1
    """Standard deviations of the Gaussian noise on the first state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse("reset_noise_scale", Robot.reset_noise_scale)

    def _refuse(self, name: str, default: float | bool) -> None:
        given = getattr(self, name)
        if given != default:
            raise ValueError(
                f"{name} is {given}; the paper's robots have a first state and an observation of "
                "their own: leave it out"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("sensordata",)

    def compiled(self) -> mujoco.MjModel:
        mujoco_utils.log_warnings()
        spec = mujoco.MjSpec.from_file(str(mujoco_utils.ASSETS / self.asset))
        self._adjust(spec)
        for name, kind in _SENSORS.items():
            of_mass = name.startswith("com")
            frame = mujoco.mjtObj.mjOBJ_BODY if of_mass else mujoco.mjtObj.mjOBJ_XBODY
            spec.add_sensor(name=name, type=kind, objtype=frame, objname="torso")
        with warnings.catch_warnings():  # of gymnasium's file, which is not ours to mend
            warnings.filterwarnings("ignore", ".*is deprecated", UserWarning)
            return spec.compile()

    def _adjust(self, spec: mujoco.MjSpec) -> None:
        """Make gymnasium's model the authors'."""

    def position(self, state: State) -> Floats:
        """Position of the center of mass."""
        place = state.fields["sensordata"][:, _COM][:, :2]
        return array_namespace(place).asarray(place, copy=True)

    def velocity(self, state: State, displacement_rate: Floats) -> Floats:
        """Velocity of the center of mass, at the end of the step."""
        return state.fields["sensordata"][:, _COM_VELOCITY][:, :2]

    def ctrl_cost(self, actions: Floats) -> Floats:
        """Cost of actions clipped to ±1."""
        return super().ctrl_cost(array_namespace(actions).clip(actions, -1.0, 1.0))

    def first_state(
        self, rng: np.random.Generator, init_qpos: Floats, init_qvel: Floats
    ) -> tuple[Floats, Floats]:
        qpos = init_qpos + self.position_noise * rng.standard_normal(init_qpos.size)
        qvel = init_qvel + self.velocity_noise * rng.standard_normal(init_qvel.size)
        return qpos, qvel


@dataclass(frozen=True, kw_only=True)
class PaperHalfCheetah(PaperRobot, HalfCheetah):
    """20 observed numbers: positions but for x, velocities, center of mass. dt 0.01 s.

    gymnasium's model has every number that rllab's has.
    """

    frame_skip: int = 1
    ctrl_cost_weight: float = 0.05

    recompute: ClassVar[Literal["nothing", "velocities", "accelerations"]] = "velocities"

    def observation(self, state: State) -> Floats:
        parts = [state.qpos[:, 1:], state.qvel, state.fields["sensordata"][:, _COM]]
        return array_namespace(state.qpos).concat(parts, axis=1)


@dataclass(frozen=True, kw_only=True)
class PaperAnt(PaperRobot, Ant):
    """125 observed numbers: positions, velocities, contact forces clipped to ±1 (14 bodies, 6
    each, the world's included), rotation of the torso, center of mass. dt 0.02 s.

    gymnasium's model but for its time step, and for how hard contacts are.
    """

    frame_skip: int = 1
    ctrl_cost_weight: float = 0.005
    contact_cost_weight: float = 0.5e-3

    recompute: ClassVar[Literal["nothing", "velocities", "accelerations"]] = "accelerations"
    time_step: ClassVar[float | None] = 0.02
    solref: ClassVar[tuple[float, float]] = (0.02, 1.0)
    solimp: ClassVar[tuple[float, float, float]] = (0.8, 0.8, 0.01)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse("include_cfrc_ext_in_observation", Ant.include_cfrc_ext_in_observation)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("sensordata", "cfrc_ext")

    def _adjust(self, spec: mujoco.MjSpec) -> None:
        for geom in spec.geoms:
            geom.solref = self.solref
            geom.solimp[: len(self.solimp)] = self.solimp

    def start(self, model: mujoco.MjModel) -> tuple[Floats, Floats]:
        """Legs half bent, 0.55 m up: what the model's file says, and gymnasium ignores."""
        qpos: NDArray[np.float64] = model.numeric("init_qpos").data.copy()
        return qpos, np.zeros(model.nv)

    def observation(self, state: State) -> Floats:
        xp, sensors = array_namespace(state.qpos), state.fields["sensordata"]
        columns = xp.reshape(sensors[:, _AXES], (len(sensors), 3, 3))
        parts = [
            state.qpos,
            state.qvel,
            flat(xp.clip(state.fields["cfrc_ext"], -1.0, 1.0)),
            flat(xp.permute_dims(columns, (0, 2, 1))),
            sensors[:, _COM],
        ]
        return xp.concat(parts, axis=1)
