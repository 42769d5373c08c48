"""The batched environment: M robots stepped by MuJoCo's own threads, in one call."""

from __future__ import annotations

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from mujoco.batch import Batch
from numpy.typing import NDArray

from ..core.step import Outcome
from ..core.tasks import Tasks
from ..core.vector_env import Rows, TaskVectorEnv
from . import mujoco_utils
from .robots.base import Physics, Robot
from .step import judge_robots

_NO_STAGE = mujoco.mjtStage.mjSTAGE_NONE.value


class BatchedLocomotion(TaskVectorEnv):
    """M robots with a task each, equal to the bit to M single environments.

    Seeds, infos, autoreset and divergence are those of `TaskVectorEnv`. Results do not depend
    on `num_threads`.

    Args:
        robot: which robot.
        tasks: a task family that rewards a velocity along x.
        num_envs: M.
        max_episode_steps: None for no time limit.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        num_threads: MuJoCo's threads; None is every CPU that this process may use.
    """

    diagnostics = ("x_velocity",)

    def __init__(
        self,
        robot: Robot,
        tasks: Tasks,
        num_envs: int,
        *,
        max_episode_steps: int | None = 200,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int | None = None,
    ) -> None:
        parameters = {
            "robot": robot,
            "tasks": tasks,
            "num_envs": num_envs,
            "max_episode_steps": max_episode_steps,
            "autoreset_mode": autoreset_mode,
            "num_threads": num_threads,
        }
        if num_threads is None:
            num_threads = mujoco_utils.available_cpus()
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}; at least 1, or None for every CPU")
        model = robot.model()
        self._init_qpos, self._init_qvel = robot.start(model)
        start = mujoco.MjData(model)
        forces = start.cfrc_ext if robot.needs_contact_forces else start.cfrc_ext[:0]
        fields = (start.qpos, start.qvel, forces, start.sensordata)
        size = robot.observation(Physics(*(field[None] for field in fields))).shape[1]
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        super().__init__(
            tasks,
            num_envs,
            spaces.Box(-np.inf, np.inf, (size,), dtype=np.float64),
            spaces.Box(low, high, dtype=np.float32),
            max_episode_steps,
            autoreset_mode,
            parameters,
        )
        self._robot = robot
        self._model = model
        self._dt = model.opt.timestep * robot.frame_skip
        # Contact forces are no stage of a batch: they are computed one simulation at a time,
        # from the whole MjData that a persistent batch keeps of each. But where a robot's stage
        # has accelerations, its model has a sensor that makes the engine compute them.
        sensed = robot.stage == mujoco.mjtStage.mjSTAGE_ACC
        self._one_by_one = robot.needs_contact_forces and not sensed
        self._scratch = start
        self._batch = Batch(
            model,
            num_envs,
            num_threads,
            # Persistent, the next step goes on from a stage of velocities, at no cost.
            persistent=self._one_by_one or robot.stage == mujoco.mjtStage.mjSTAGE_VEL,
        )
        # Live views: writing to them is writing the simulations' state.
        self._qpos = self._batch.bind("qpos")
        self._qvel = self._batch.bind("qvel")
        self._ctrl = self._batch.bind("ctrl")
        self._cfrc_ext = np.zeros((num_envs, *forces.shape))
        if robot.needs_contact_forces and sensed:
            self._cfrc_ext = self._batch.bind("cfrc_ext")
        self._sensors = np.zeros((num_envs, 0))
        if model.nsensordata:
            self._sensors = self._batch.bind("sensordata")
        torso = robot.torso
        self._x = self._qpos[:, 0] if torso is None else self._batch.bind("xpos")[:, torso, 0]

    def _restart(self, ids: NDArray[np.intp]) -> NDArray[np.float64]:
        self._batch.reset(ids, stage=_NO_STAGE)
        for i in ids.tolist():
            self._qpos[i], self._qvel[i] = self._robot.first_state(
                self._generators[i], self._init_qpos, self._init_qvel
            )
        self._batch.forward(ids)
        if self._one_by_one:
            self._cfrc_ext[ids] = 0.0
        return self._robot.observation(self._physics(ids))

    def _physics(self, rows: Rows) -> Physics:
        fields = (self._qpos, self._qvel, self._cfrc_ext, self._sensors)
        return Physics(*(field[rows] for field in fields))

    def _advance(self, rows: Rows, actions: NDArray[np.float64]) -> Outcome:
        x_before = self._x[rows].copy()
        self._ctrl[rows] = actions
        ids = None if isinstance(rows, slice) else rows
        self._batch.step(ids, nstep=self._robot.frame_skip, stage=self._robot.stage.value)
        if self._one_by_one:
            self._compute_contact_forces(rows)
        return judge_robots(
            self._robot,
            self._family,
            self._tasks[rows],
            actions,
            displacement_rate=(self._x[rows] - x_before) / self._dt,
            physics=self._physics(rows),
            diverged=mujoco_utils.diverged(self._batch.warning[rows, :, 1]),
            before=self._observations[rows],
        )

    def _compute_contact_forces(self, rows: Rows) -> None:
        for i in np.arange(self.num_envs)[rows].tolist():
            data = self._batch.get_data(i, self._scratch)
            mujoco.mj_rnePostConstraint(self._model, data)
            self._cfrc_ext[i] = data.cfrc_ext
