"""The vector environment of robots: M simulations, stepped in one call."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from ..core.step import StepResult
from ..core.vector_env import Rows, TaskVectorEnv
from . import mujoco_utils
from .on_device import OnDevice
from .robots.base import Robot
from .simulation import MakeSimulation, MuJoCoBatch, Simulation
from .step import judge
from .tasks import LocomotionTasks


class LocomotionVectorEnv(TaskVectorEnv):
    """M robots with a task each, equal to the bit to M single environments.

    Seeds, infos, autoreset and divergence are those of `TaskVectorEnv`. Results do not depend
    on `num_threads`.

    Args:
        robot: which robot.
        tasks: the task family.
        num_envs: M.
        max_episode_steps: None for no time limit.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        num_threads: of the simulation; None is every CPU that this process may use.
        simulate: what steps the M copies.

    Attributes:
        robot: which robot.
        simulation: what steps them, made.

    Raises:
        ValueError: below 1 simulation or thread.
    """

    diagnostics = ("x_velocity",)

    def __init__(
        self,
        robot: Robot,
        tasks: LocomotionTasks,
        num_envs: int,
        *,
        max_episode_steps: int | None = 200,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int | None = None,
        simulate: MakeSimulation = MuJoCoBatch,
    ) -> None:
        parameters = {
            "robot": robot,
            "tasks": tasks,
            "num_envs": num_envs,
            "max_episode_steps": max_episode_steps,
            "autoreset_mode": autoreset_mode,
            "num_threads": num_threads,
            "simulate": simulate,
        }
        if num_threads is None:
            num_threads = mujoco_utils.available_cpus()
        if num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}; at least 1, or None for every CPU")
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; at least one simulation is needed")
        self.simulation: Simulation = simulate(robot, num_envs, num_threads)
        model = self.simulation.model
        family = tasks.of(model)
        size = robot.observation(self.simulation.state(slice(None))).shape[1]
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        super().__init__(
            family,
            num_envs,
            spaces.Box(-np.inf, np.inf, (size,), dtype=np.float64),
            spaces.Box(low, high, dtype=np.float32),
            max_episode_steps,
            autoreset_mode,
            parameters,
        )
        self.robot, self._robot_tasks = robot, family
        self._start = robot.start(model)
        self.dt: float = model.opt.timestep * robot.frame_skip
        """Seconds that a step lasts."""

    @property
    def family(self) -> LocomotionTasks:
        """The task family, for this robot."""
        return self._robot_tasks

    @property
    def on_device(self) -> OnDevice | None:
        """The same robots in tensors, where the simulation and their laws can be."""
        return OnDevice.of(self)

    def set_tasks(self, tasks: ArrayLike) -> None:
        """Reward simulation i by `tasks[i]`, and where they are worlds put it into that one.

        Both from the next step on; `[M, *task_space.shape]`.

        Raises:
            ValueError: wrong shape, or a task outside `task_space`.
        """
        super().set_tasks(tasks)
        fields = self._robot_tasks.fields(self._tasks)
        if fields:
            self.simulation.set_model(fields, derive=self._robot_tasks.derive)

    def _restart(self, ids: NDArray[np.intp]) -> NDArray[np.float64]:
        first = [self.robot.first_state(self._generators[i], *self._start) for i in ids.tolist()]
        qpos, qvel = map(np.stack, zip(*first, strict=True))
        self.simulation.reset(ids, qpos, qvel)
        return self.robot.observation(self.simulation.state(ids))

    def _advance(self, rows: Rows, actions: NDArray[np.float64]) -> StepResult:
        position = self.robot.position(self.simulation.state(rows))
        self.simulation.step(rows, actions)
        state = self.simulation.state(rows)
        return judge(
            self.robot,
            self._robot_tasks,
            self._tasks[rows],
            actions,
            self.robot.motion(position, state, self.dt),
            state,
            self.simulation.diverged(rows),
            before=self._observations[rows],
        )
