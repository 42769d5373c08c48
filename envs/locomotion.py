"""The single environments: gymnasium's own v5 robots with a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv as GymnasiumAnt
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv as GymnasiumHalfCheetah
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from numpy.typing import ArrayLike, NDArray

from . import engine
from .outcome import check_actions, judge_robots
from .robots import Ant, HalfCheetah, Robot
from .single import TaskEnv
from .tasks import Tasks


def single_locomotion(robot: Robot, tasks: Tasks, **rendering: Any) -> LocomotionEnv:
    """One robot with a task.

    Args:
        robot: a `HalfCheetah` or an `Ant`.
        tasks: a task family that rewards a velocity along x.
        rendering: `render_mode`, `width`, `height`, `camera_id`, `camera_name` and whatever else
            gymnasium's v5 environment draws with.
    """
    if isinstance(robot, Ant):
        return AntTaskEnv(robot, tasks, **rendering)
    if isinstance(robot, HalfCheetah):
        return HalfCheetahTaskEnv(robot, tasks, **rendering)
    raise TypeError(f"no environment for {robot!r}; there are HalfCheetah and Ant")


class LocomotionEnv(TaskEnv, MujocoEnv):
    """A robot that is rewarded by its task, in a `gymnasium.Env`.

    Simulation, reset, rendering and spaces are gymnasium's v5; reward, observation and the end of
    an episode are those of `robots.py` and `tasks.py`. A simulation that blew up truncates the
    episode with `info["diverged"]`, reward 0 and the observation before the step. A copy or a
    pickle keeps the task and must be reset.
    """

    diagnostics: tuple[str, ...] = ("x_velocity",)
    _robot: Robot
    _observation: NDArray[np.float64]

    def _start(self, robot: Robot, tasks: Tasks, rendering: dict[str, Any]) -> None:
        engine.log_warnings()
        self._start_tasks(tasks, {"robot": robot, "tasks": tasks, **rendering})
        self._robot = robot

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode; `options={"task": ...}` is `set_task` first."""
        self._take_options(options)
        return super().reset(seed=seed, options=options)

    def reset_model(self) -> NDArray[np.float64]:
        self._observation = super().reset_model()
        return self._observation.copy()

    def _get_reset_info(self) -> dict[str, Any]:
        return {"task": self.task}

    def step(
        self, action: ArrayLike
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Hold `action`, `[A]`, for `frame_skip` simulator steps.

        Raises:
            ValueError: `action` has another shape or is not finite.
        """
        actions = check_actions(np.asarray(action)[None], self.action_space, 1)
        x_before = self._x_position()
        self.do_simulation(actions[0], self.frame_skip)
        data = self.data
        outcome = judge_robots(
            self._robot,
            self._tasks,
            self._task,
            actions,
            x_velocity=(self._x_position() - x_before) / self.dt,
            qpos=data.qpos[None],
            qvel=data.qvel[None],
            cfrc_ext=data.cfrc_ext[None],
            diverged=engine.diverged(data.warning.number[None]),
            before=self._observation[None],
        )
        self._observation = outcome.observations[0]
        diverged = bool(outcome.diverged[0])
        info = {name: values[0] for name, values in outcome.details.items()}
        info |= {"diverged": diverged, "task": self.task}
        if self.render_mode == "human":
            self.render()
        terminated = bool(outcome.terminations[0])
        return self._observation.copy(), outcome.rewards[0], terminated, diverged, info

    def _x_position(self) -> NDArray[np.float64]:
        torso = self._robot.torso
        x = self.data.qpos[0] if torso is None else self.data.xpos[torso, 0]
        return np.array([x])


class HalfCheetahTaskEnv(LocomotionEnv, GymnasiumHalfCheetah):
    """gymnasium's HalfCheetah-v5 with a task."""

    def __init__(self, robot: HalfCheetah, tasks: Tasks, **rendering: Any) -> None:
        self._start(robot, tasks, rendering)
        GymnasiumHalfCheetah.__init__(
            self,
            frame_skip=robot.frame_skip,
            reset_noise_scale=robot.reset_noise_scale,
            **rendering,
        )


class AntTaskEnv(LocomotionEnv, GymnasiumAnt):
    """gymnasium's Ant-v5 with a task."""

    def __init__(self, robot: Ant, tasks: Tasks, **rendering: Any) -> None:
        self._start(robot, tasks, rendering)
        GymnasiumAnt.__init__(
            self,
            frame_skip=robot.frame_skip,
            reset_noise_scale=robot.reset_noise_scale,
            include_cfrc_ext_in_observation=robot.include_cfrc_ext_in_observation,
            **rendering,
        )
