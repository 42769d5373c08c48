"""What is particular to each robot: its model file, observation, fall, costs and first state.

The functions take arrays with one row per simulation and are all there is to a robot, in the
single environment and in the batched one. They agree with gymnasium's v5 robots to the bit;
the robots and their constants are gymnasium's (`half_cheetah_v5.py`, `ant_v5.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from .. import mujoco_utils

Floats = NDArray[np.float64]


class Physics(NamedTuple):
    """What a robot's step is judged by, a row for each of m simulations."""

    qpos: Floats  # [m, nq]
    qvel: Floats  # [m, nv]
    cfrc_ext: Floats  # [m, nbody, 6]  contact forces; read only where the robot needs them
    sensors: Floats  # [m, nsensordata]


def flat(x: Floats) -> Floats:
    """[m, ...] as [m, D], for no rows too."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot and the constants of its reward.

    reward = task reward + survival_bonus - ctrl_cost_weight Σa² - contact_cost_weight Σf²,
    where a is the action as given and f the contact forces clipped to ±1.
    """

    frame_skip: int
    """Simulator steps for which an action is held."""
    ctrl_cost_weight: float
    survival_bonus: float = 0.0
    """Paid every step, the one that ends the episode included."""
    contact_cost_weight: float = 0.0
    include_cfrc_ext_in_observation: bool = False
    reset_noise_scale: float = 0.1
    """Half-width of the uniform noise on positions, standard deviation of that on velocities."""

    can_fall: ClassVar[bool]
    asset: ClassVar[str]
    """The model's file among gymnasium's own assets."""
    hidden: ClassVar[int]
    """Leading entries of qpos that the observation leaves out: where on the plane it is."""
    torso: ClassVar[int | None]
    """The body whose xpos gives the velocity along x; None where that is qpos[0]."""
    camera: ClassVar[Mapping[str, float]]
    """From where it is looked at, unless `default_camera_config` says otherwise."""
    camera_height: ClassVar[float]
    """Of the point that the camera looks at, which moves along with the torso, in meters."""
    stage: ClassVar[mujoco.mjtStage] = mujoco.mjtStage.mjSTAGE_NONE
    """What is computed of the state that a step led to. Without it, derived quantities are those
    of the state before the last simulator step, as in gymnasium."""

    def __post_init__(self) -> None:
        if self.frame_skip < 1:
            raise ValueError(
                f"frame_skip is {self.frame_skip}; at least 1 simulator step an action"
            )

    @property
    def needs_contact_forces(self) -> bool:
        """Whether `cfrc_ext` must be computed, at about 15 µs a simulation and step."""
        return self.include_cfrc_ext_in_observation or self.contact_cost_weight != 0.0

    def model(self) -> mujoco.MjModel:
        """The robot's model, compiled anew."""
        return mujoco_utils.load(self.asset)

    def start(self, model: mujoco.MjModel) -> tuple[Floats, Floats]:
        """qpos `[nq]` and qvel `[nv]` of the first state without its noise."""
        return model.qpos0.copy(), np.zeros(model.nv)

    def healthy(self, qpos: Floats, qvel: Floats) -> NDArray[np.bool_]:
        """False where the robot has fallen, which ends the episode, `[m]`."""
        raise NotImplementedError

    def observation(self, physics: Physics) -> Floats:
        """`[m, D]`, float64, a fresh array. Of contact forces the world's (body 0) are left out."""
        parts = [physics.qpos[:, self.hidden :], physics.qvel]
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(np.clip(physics.cfrc_ext[:, 1:], -1.0, 1.0)))
        return np.concatenate(parts, axis=1)

    def x_velocity(self, physics: Physics, displacement_rate: Floats) -> Floats:
        """The velocity along x that tasks reward, in meters a second, `[m]`.

        `displacement_rate`, `[m]`, is how far the torso came in the step, by its duration.
        """
        return displacement_rate

    def ctrl_cost(self, actions: Floats) -> Floats:
        """ctrl_cost_weight Σa², `[M]`, of actions `[M, A]` in C order."""
        return self.ctrl_cost_weight * np.sum(np.square(actions), axis=-1)

    def contact_cost(self, cfrc_ext: Floats) -> Floats:
        """contact_cost_weight Σ clip(f, ±1)², `[M]`, over every body, `[M, nbody, 6]`."""
        if self.contact_cost_weight == 0.0:
            return np.zeros(len(cfrc_ext))
        clipped = flat(np.clip(cfrc_ext, -1.0, 1.0))
        return self.contact_cost_weight * np.sum(np.square(clipped), axis=-1)

    def first_state(
        self, rng: np.random.Generator, init_qpos: Floats, init_qvel: Floats
    ) -> tuple[Floats, Floats]:
        """Noisy qpos `[nq]` and qvel `[nv]` of one simulation, drawn in gymnasium's order."""
        scale = self.reset_noise_scale
        qpos = init_qpos + rng.uniform(low=-scale, high=scale, size=init_qpos.size)
        qvel = init_qvel + scale * rng.standard_normal(init_qvel.size)
        return qpos, qvel
