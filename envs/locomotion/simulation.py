"""Simulations of M copies of a robot: a protocol, and MuJoCo behind it.

Rewards, observations and falls are functions of a `State`, whatever simulator it came from. A
simulator of another make is one class with the methods of `Simulation`; pass it to
`LocomotionVectorEnv(..., simulate=...)`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from ..core.vector_env import Rows
from . import mujoco_utils
from .robots.base import Floats, Robot, State

_STAGES = {
    "nothing": mujoco.mjtStage.mjSTAGE_NONE.value,
    "velocities": mujoco.mjtStage.mjSTAGE_VEL.value,
    "accelerations": mujoco.mjtStage.mjSTAGE_ACC.value,
}

_CONTACTS = "cfrc_ext"


class Simulation(Protocol):
    """M copies of a robot's simulation, each in a state of its own."""

    @property
    def model(self) -> mujoco.MjModel:
        """The robot's model: what is simulated, its time step, and the range of its controls."""
        ...

    def reset(self, ids: NDArray[np.intp], qpos: Floats, qvel: Floats) -> None:
        """Begin anew.

        Args:
            ids: which simulations, in ascending order, `[m]`.
            qpos: their first positions, `[m, nq]`.
            qvel: their first velocities, `[m, nv]`.
        """
        ...

    def step(self, rows: Rows, controls: Floats) -> None:
        """Hold controls for the robot's `frame_skip` simulator steps, and leave the others alone.

        Args:
            rows: which simulations.
            controls: of each, `[m, nu]`, clamped to their range where they leave it.
        """
        ...

    def state(self, rows: Rows) -> State:
        """State of some; the arrays may be views that the next step writes to."""
        ...

    def diverged(self, rows: Rows) -> NDArray[np.bool_]:
        """Mask of the simulations that blew up since they were last reset, `[m]`."""
        ...

    def set_model(self, fields: Mapping[str, Floats], *, derive: bool = True) -> None:
        """Give each simulation a model of its own, from the next step on.

        Args:
            fields: of MjModel by name, `[M, ...]` each.
            derive: compute anew what follows from them, such as the inertia that contacts meet.
        """
        ...


class TensorSimulation(Simulation, Protocol):
    """Simulations that stay on a device: all of them step at once, and the host looks at none.

    Tensors are those of a library of the array API, on `device`.
    """

    device: str

    def advance(self, controls: Any) -> None:
        """Hold controls `[M, nu]` for the robot's `frame_skip` simulator steps."""
        ...

    def tensors(self) -> State:
        """State of all, float64; fresh, no step writes to it."""
        ...

    def blown(self) -> Any:
        """Mask of the simulations whose state is none any more, `[M]`."""
        ...

    def lacking(self) -> Any:
        """What each had no room for in the last step, as bits; 0 is nothing, `[M]`."""
        ...

    def check_room(self, lacking: NDArray[np.int32]) -> None:
        """Refuse what was simulated if anything was lacking, as `lacking` said, `[M]`."""
        ...


class MakeSimulation(Protocol):
    """A class of simulations, or whatever makes one."""

    def __call__(self, robot: Robot, num_envs: int, num_threads: int) -> Simulation: ...


class MuJoCoBatch:
    """M simulations stepped by MuJoCo's own threads, in one call.

    Results do not depend on `num_threads`.

    Args:
        robot: which robot.
        num_envs: M.
        num_threads: MuJoCo's threads.
    """

    def __init__(self, robot: Robot, num_envs: int, num_threads: int) -> None:
        self.model = robot.model()
        self.num_envs = num_envs
        self._frame_skip = robot.frame_skip
        self._stage = _STAGES[robot.recompute]
        # Contact forces are no stage of a batch: they are computed one simulation at a time,
        # from the whole MjData that a persistent batch keeps of each. But where accelerations are
        # recomputed, the robot's model has a sensor that makes the engine compute the forces.
        sensed = robot.recompute == "accelerations"
        self._one_by_one = _CONTACTS in robot.reads and not sensed
        self._scratch = mujoco.MjData(self.model)
        self.batch = Batch(
            self.model,
            num_envs,
            num_threads,
            # Persistent, the next step goes on from a stage of velocities, at no cost.
            persistent=self._one_by_one or robot.recompute == "velocities",
        )
        # Live views: writing to them is writing the simulations' state.
        self.qpos: Floats = self.batch.bind("qpos")
        self.qvel: Floats = self.batch.bind("qvel")
        self.controls: Floats = self.batch.bind("ctrl")
        self._own: dict[str, Floats] = {}
        """Fields of the model that each simulation has its own of, [M, ...], live."""
        self._own_model: mujoco.MjModel | None = None
        self._fields: dict[str, Floats] = {
            name: self.batch.bind(name)
            for name in robot.reads
            if not (name == _CONTACTS and self._one_by_one)
        }
        if self._one_by_one:
            self._fields[_CONTACTS] = np.zeros((num_envs, self.model.nbody, 6))

    def reset(self, ids: NDArray[np.intp], qpos: Floats, qvel: Floats) -> None:
        self.batch.reset(ids, stage=_STAGES["nothing"])
        self.qpos[ids], self.qvel[ids] = qpos, qvel
        self.batch.forward(ids)
        if self._one_by_one:
            self._fields[_CONTACTS][ids] = 0.0

    def step(self, rows: Rows, controls: Floats) -> None:
        self.controls[rows] = controls
        ids = None if isinstance(rows, slice) else rows
        self.batch.step(ids, nstep=self._frame_skip, stage=self._stage)
        if self._one_by_one:
            for i in np.arange(self.num_envs)[rows].tolist():
                data = self.batch.get_data(i, self._scratch)
                mujoco.mj_rnePostConstraint(self._model_of(i), data)
                self._fields[_CONTACTS][i] = data.cfrc_ext

    def state(self, rows: Rows) -> State:
        fields = {name: values[rows] for name, values in self._fields.items()}
        return State(self.qpos[rows], self.qvel[rows], fields)

    def diverged(self, rows: Rows) -> NDArray[np.bool_]:
        return mujoco_utils.diverged(self.batch.warning[rows, :, 1])

    def set_model(self, fields: Mapping[str, Floats], *, derive: bool = True) -> None:
        for name, values in fields.items():
            if name not in self._own:
                self._own[name] = self.batch.expand(name)
            self._own[name][:] = values
        if derive:
            self.batch.set_const()

    def _model_of(self, i: int) -> mujoco.MjModel:
        if not self._own:
            return self.model
        if self._own_model is None:
            self._own_model = copy.copy(self.model)
        # Written into: a copy anew takes a hundred times as long.
        return self.batch.get_model(i, self._own_model)


class MuJoCoData:
    """One simulation in an `MjData`, which can be looked at and drawn.

    Args:
        robot: which robot.
        num_envs: 1.
        num_threads: 1.

    Attributes:
        data: the simulation.
    """

    def __init__(self, robot: Robot, num_envs: int = 1, num_threads: int = 1) -> None:
        if num_envs != 1:
            raise ValueError(f"num_envs is {num_envs}; an MjData holds 1 simulation")
        self.model = robot.model()
        self.data = mujoco.MjData(self.model)
        self._frame_skip = robot.frame_skip
        self._forward = robot.recompute != "nothing"
        self._reads = robot.reads
        self._contact_forces = _CONTACTS in robot.reads and robot.recompute != "accelerations"

    def reset(self, ids: NDArray[np.intp], qpos: Floats, qvel: Floats) -> None:
        if not ids.size:
            return
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = qpos[0], qvel[0]
        mujoco.mj_forward(self.model, self.data)

    def step(self, rows: Rows, controls: Floats) -> None:
        if not len(controls):
            return
        self.data.ctrl[:] = controls[0]
        mujoco.mj_step(self.model, self.data, nstep=self._frame_skip)
        if self._forward:
            mujoco.mj_forward(self.model, self.data)
        if self._contact_forces:
            mujoco.mj_rnePostConstraint(self.model, self.data)

    def state(self, rows: Rows) -> State:
        data = self.data
        fields = {name: getattr(data, name)[None][rows] for name in self._reads}
        return State(data.qpos[None][rows], data.qvel[None][rows], fields)

    def diverged(self, rows: Rows) -> NDArray[np.bool_]:
        return mujoco_utils.diverged(self.data.warning.number[None][rows])

    def set_model(self, fields: Mapping[str, Floats], *, derive: bool = True) -> None:
        for name, values in fields.items():
            getattr(self.model, name)[:] = values[0]
        if derive:
            # It leaves a simulation in its default state, so not in the one that goes on.
            mujoco.mj_setConst(self.model, mujoco.MjData(self.model))
