"""A robot and what is particular to it: model file, observation, fall, rewards and first state.

The functions take arrays with one row per simulation and are all there is to a robot; neither
the simulator nor the task is known to them. With NumPy's arrays they agree with gymnasium's v5
robots to the bit; the robots and their constants are gymnasium's (`half_cheetah_v5.py`,
`ant_v5.py` and so on). They are written in the array API, so that those of a simulator on a GPU,
torch's tensors there, will do as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import mujoco
import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .. import mujoco_utils

Floats = NDArray[np.float64]
"""Numbers of NumPy, or of whatever library of the array API a simulation's state is of."""


class State(NamedTuple):
    """State of m simulations, a row for each, as a simulation gives it to a robot's functions."""

    qpos: Floats  # [m, nq]
    qvel: Floats  # [m, nv]
    fields: Mapping[str, Floats] = {}
    """What else the robot `reads`, by the names in `MjData`, `[m, ...]` each."""


class Motion(NamedTuple):
    """The motion of m robots in a step, a row for each: what tasks reward."""

    position: Floats  # [m, 2], x and y after the step, in meters
    velocity: Floats  # [m, 2], along x and y, in meters a second
    reports: Mapping[str, Floats] = {}


def flat(x: Floats) -> Floats:
    """[m, ...] as [m, D], for no rows too."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot and the constants of its reward.

    A subclass names its model and says how it looks in frames; it overrides what differs from
    the defaults below, which are those of a robot on a plane (x, height, pitch) that cannot fall.
    The whole reward is the task's and the sum of `rewards`.
    """

    frame_skip: int
    """Simulator steps for which an action is held."""
    ctrl_cost_weight: float
    """Weight of the squared torques, as given: the simulator clamps them, the cost does not."""
    reset_noise_scale: float = 0.1
    """Half-width of the uniform noise on first positions, standard deviation of that on velocities
    (half-width too, of robots whose model is gymnasium's with `uniform_noise`)."""
    exclude_current_positions_from_observation: bool = True
    """Hide where on the plane the robot is."""
    terminate_when_unhealthy: bool = True
    """End the episode where the robot has fallen, if it is one that falls."""

    asset: ClassVar[str]
    """The model's file among gymnasium's own assets, or the path of one of your own."""
    time_step: ClassVar[float | None] = None
    """Length of a simulator step, in seconds; None is what the model's file says."""
    hidden: ClassVar[int] = 1
    """Leading entries of qpos that say where on the plane it is."""
    torso: ClassVar[str] = "torso"
    """The body that cameras follow and above which a task's arrows are drawn."""
    torso_index: ClassVar[int] = 1
    """The same among the model's bodies."""
    fall_pays: ClassVar[bool] = False
    """Pay a survival bonus in the step of a fall too."""
    camera: ClassVar[Mapping[str, float]] = {"distance": 4.0, "azimuth": 90.0, "elevation": -15.0}
    """Position of the camera that looks at it, unless `default_camera_config` says otherwise."""
    camera_height: ClassVar[float] = 0.7
    """Height of the point that the camera looks at, which moves with the torso, in meters."""
    uniform_noise: ClassVar[bool] = False
    """Draw the noise on first velocities as that on positions, uniformly."""
    recompute: ClassVar[Literal["nothing", "velocities", "accelerations"]] = "nothing"
    """Quantities to recompute for the state that a step led to. Others are those of the
    state before the last simulator step, as in gymnasium."""

    def __post_init__(self) -> None:
        if self.frame_skip < 1:
            raise ValueError(
                f"frame_skip is {self.frame_skip}; at least 1 simulator step an action"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields of `MjData` that the functions read in `State.fields`.

        "cfrc_ext", the contact forces (torque and force on each body), costs a batch about 15 µs a
        simulation and step.
        """
        return ()

    def model(self) -> mujoco.MjModel:
        """The robot's model, compiled anew."""
        model = self.compiled()
        if self.time_step is not None:
            model.opt.timestep = self.time_step
        return model

    def compiled(self) -> mujoco.MjModel:
        """The model of the file, for `model` to set the time step of."""
        return mujoco_utils.load(self.asset)

    def start(self, model: mujoco.MjModel) -> tuple[Floats, Floats]:
        """qpos `[nq]` and qvel `[nv]` of the first state without its noise."""
        return model.qpos0.copy(), np.zeros(model.nv)

    def first_state(
        self, rng: np.random.Generator, init_qpos: Floats, init_qvel: Floats
    ) -> tuple[Floats, Floats]:
        """Noisy qpos `[nq]` and qvel `[nv]` of one simulation, drawn in gymnasium's order."""
        scale = self.reset_noise_scale
        qpos = init_qpos + rng.uniform(low=-scale, high=scale, size=init_qpos.size)
        if self.uniform_noise:
            return qpos, init_qvel + rng.uniform(low=-scale, high=scale, size=init_qvel.size)
        return qpos, init_qvel + scale * rng.standard_normal(init_qvel.size)

    def seen_positions(self, state: State) -> Floats:
        """qpos, without its `hidden` entries unless the robot is to see where it is."""
        skipped = self.hidden if self.exclude_current_positions_from_observation else 0
        return state.qpos[:, skipped:]

    def observation(self, state: State) -> Floats:
        """Observations `[m, D]`, float64, a fresh array."""
        xp = array_namespace(state.qpos)
        return xp.concat([self.seen_positions(state), state.qvel], axis=1)

    def position(self, state: State) -> Floats:
        """x and y of the robot, in meters, `[m, 2]`, a fresh array."""
        xp, x = array_namespace(state.qpos), state.qpos[:, 0]
        return xp.stack([x, xp.zeros_like(x)], axis=1)

    def velocity(self, state: State, displacement_rate: Floats) -> Floats:
        """Velocity along x and y that tasks reward, in meters a second, `[m, 2]`.

        Args:
            state: after the step.
            displacement_rate: how far `position` came in the step, by its duration, `[m, 2]`.
        """
        return displacement_rate

    def motion(self, before: Floats, state: State, duration: float) -> Motion:
        """The motion in a step, for the task to reward.

        Args:
            before: `position` before the step, `[m, 2]`.
            state: after the step.
            duration: of the step, in seconds.
        """
        position = self.position(state)
        velocity = self.velocity(state, (position - before) / duration)
        return Motion(position, velocity, self.reports(state))

    def reports(self, state: State) -> Mapping[str, Floats]:
        """Measurements beside position and velocity that a task may reward, `[m, ...]` each."""
        return {}

    def rewards(self, actions: Floats, state: State) -> dict[str, Floats]:
        """Parts of the reward that do not depend on the task, `[m]` each, by their keys in `info`.

        Args:
            actions: as given, `[m, A]`, in C order.
            state: after the step.
        """
        return {"reward_ctrl": -self.ctrl_cost(actions)}

    def survival(self, bonus: float, state: State) -> Floats:
        """A bonus where the robot stands, or everywhere where a fall pays too, `[m]`."""
        xp = array_namespace(state.qpos)
        every = xp.full_like(state.qpos[:, 0], bonus)
        return every if self.fall_pays else xp.where(self.healthy(state), every, 0.0)

    def ctrl_cost(self, actions: Floats) -> Floats:
        """ctrl_cost_weight Σa², `[m]`, of actions `[m, A]` in C order."""
        xp = array_namespace(actions)
        return self.ctrl_cost_weight * xp.sum(xp.square(actions), axis=-1)

    def healthy(self, state: State) -> NDArray[np.bool_]:
        """False where the robot has fallen, `[m]`."""
        xp = array_namespace(state.qpos)
        return xp.ones_like(state.qpos[:, 0], dtype=xp.bool)

    def ended(self, state: State) -> NDArray[np.bool_]:
        """True where the episode is over, `[m]`."""
        fallen = ~self.healthy(state)
        ends = self.terminate_when_unhealthy
        return fallen if ends else array_namespace(fallen).zeros_like(fallen)
