"""The single environments: gymnasium's own v5 robots with a task."""

from __future__ import annotations

import weakref
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.ant_v5 import AntEnv as GymnasiumAnt
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv as GymnasiumHalfCheetah
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from numpy.typing import ArrayLike, NDArray

from ..core.env import TaskEnv
from ..core.step import check_actions
from ..core.tasks import Tasks
from . import mujoco_utils
from .maml_paper import PaperRobot
from .markers import Marker, goal_markers
from .rendering import Follower, add, free, viewer_for
from .robots.ant import Ant
from .robots.base import Physics, Robot
from .robots.half_cheetah import HalfCheetah
from .step import judge_robots


def single_locomotion(robot: Robot, tasks: Tasks, **rendering: Any) -> LocomotionEnv:
    """One robot with a task.

    Args:
        robot: a `HalfCheetah`, an `Ant` or one of `paper.py`.
        tasks: a task family that rewards a velocity along x.
        rendering: `render_mode`, `width`, `height`, `camera_id`, `camera_name` and whatever else
            gymnasium's v5 environment draws with; and `pretty`, with shadows, reflections and
            smooth edges, which are slow without a GPU.
    """
    if isinstance(robot, PaperRobot):
        return PaperTaskEnv(robot, tasks, **rendering)
    if isinstance(robot, Ant):
        return AntTaskEnv(robot, tasks, **rendering)
    if isinstance(robot, HalfCheetah):
        return HalfCheetahTaskEnv(robot, tasks, **rendering)
    raise TypeError(f"no environment for {robot!r}; there are HalfCheetah and Ant")


class LocomotionEnv(TaskEnv, MujocoEnv):
    """A robot that is rewarded by its task, in a `gymnasium.Env`.

    Rendering is gymnasium's v5, and but for the paper's robots simulation and reset are; reward,
    observation and the end of an episode are those of `robots.py` and `tasks.py`. Pictures show
    the goal too, by the arrows of `markers.py`, and the camera follows the robot. A simulation
    that blew up truncates the episode with `info["diverged"]`, reward 0 and the observation before
    the step. A copy or a pickle keeps the task and must be reset.
    """

    diagnostics: tuple[str, ...] = ("x_velocity",)
    _robot: Robot
    _observation: NDArray[np.float64]

    def _start(self, robot: Robot, tasks: Tasks, rendering: dict[str, Any]) -> dict[str, Any]:
        """Take everything but the simulation; returns what gymnasium's constructor takes."""
        mujoco_utils.log_warnings()
        self._start_tasks(tasks, {"robot": robot, "tasks": tasks, **rendering})
        self._robot = robot
        self._velocity = 0.0
        camera = rendering.get("default_camera_config") or {}
        self._pretty = bool(rendering.get("pretty", False))
        # A camera of the model or a fixed point to look at is somebody's wish.
        fixed = "lookat" in camera or any(
            rendering.get(name) is not None for name in ("camera_id", "camera_name")
        )
        self._follower = None if fixed else Follower(robot.camera_height)
        return {
            **{name: value for name, value in rendering.items() if name != "pretty"},
            "default_camera_config": {**robot.camera, **camera},
        }

    def _set_up_drawing(self) -> None:
        if not self._pretty:
            self.model.vis.quality.offsamples = 0
        viewers = self.mujoco_renderer._viewers
        # Not at exit, when OpenGL may have been closed before.
        weakref.finalize(self, free, viewers).atexit = False

    @property
    def camera(self) -> dict[str, float]:
        """From where pictures look at the robot, by default."""
        return dict(self._robot.camera)

    def markers(self) -> tuple[Marker, ...]:
        """What shows the task in a picture: keywords of `mujoco.mjv_initGeom`, now."""
        goal = self._tasks.goal_velocity(self._task[0])
        return goal_markers(goal, self._velocity, self._torso_position())

    def render(self) -> Any:
        """A picture, as `render_mode` says, `[height, width, 3]` bytes for "rgb_array".

        Raises:
            NoOpenGLError: OpenGL is not to be had.
        """
        if self.render_mode is not None:
            viewer = viewer_for(self.mujoco_renderer, self.render_mode, pretty=self._pretty)
            if self._follower is not None:
                self._follower.follow(self.render_mode, viewer, self._torso_position())
            add(viewer, self.markers())
        return super().render()

    def close(self) -> None:
        """Free what drawing took. Drawing again takes it anew."""
        free(self.mujoco_renderer._viewers)
        if self._follower is not None:
            self._follower.start_anew()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode; `options={"task": ...}` is `set_task` first."""
        self._take_options(options)
        return super().reset(seed=seed, options=options)

    def reset_model(self) -> NDArray[np.float64]:
        self._velocity = 0.0
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
        outcome = judge_robots(
            self._robot,
            self._tasks,
            self._task,
            actions,
            displacement_rate=(self._x_position() - x_before) / self.dt,
            physics=self._physics(),
            diverged=mujoco_utils.diverged(self.data.warning.number[None]),
            before=self._observation[None],
        )
        self._observation = outcome.observations[0]
        diverged = bool(outcome.diverged[0])
        self._velocity = float(outcome.details["x_velocity"][0])
        info = {name: values[0] for name, values in outcome.details.items()}
        info |= {"diverged": diverged, "task": self.task}
        if self.render_mode == "human":
            self.render()
        terminated = bool(outcome.terminations[0])
        return self._observation.copy(), outcome.rewards[0], terminated, diverged, info

    def _physics(self) -> Physics:
        data = self.data
        fields = (data.qpos, data.qvel, data.cfrc_ext, data.sensordata)
        return Physics(*(field[None] for field in fields))

    def _x_position(self) -> NDArray[np.float64]:
        torso = self._robot.torso
        x = self.data.qpos[0] if torso is None else self.data.xpos[torso, 0]
        return np.array([x])

    def _torso_position(self) -> NDArray[np.float64]:
        return self.data.body("torso").xpos


class HalfCheetahTaskEnv(LocomotionEnv, GymnasiumHalfCheetah):
    """gymnasium's HalfCheetah-v5 with a task."""

    def __init__(self, robot: HalfCheetah, tasks: Tasks, **rendering: Any) -> None:
        drawing = self._start(robot, tasks, rendering)
        GymnasiumHalfCheetah.__init__(
            self,
            frame_skip=robot.frame_skip,
            reset_noise_scale=robot.reset_noise_scale,
            **drawing,
        )
        self._set_up_drawing()


class AntTaskEnv(LocomotionEnv, GymnasiumAnt):
    """gymnasium's Ant-v5 with a task."""

    def __init__(self, robot: Ant, tasks: Tasks, **rendering: Any) -> None:
        drawing = self._start(robot, tasks, rendering)
        GymnasiumAnt.__init__(
            self,
            frame_skip=robot.frame_skip,
            reset_noise_scale=robot.reset_noise_scale,
            include_cfrc_ext_in_observation=robot.include_cfrc_ext_in_observation,
            **drawing,
        )
        self._set_up_drawing()


class PaperTaskEnv(LocomotionEnv):
    """A robot of the MAML paper with a task."""

    def __init__(self, robot: PaperRobot, tasks: Tasks, **rendering: Any) -> None:
        drawing = self._start(robot, tasks, rendering)
        MujocoEnv.__init__(self, robot.asset, robot.frame_skip, None, **drawing)
        self._init = robot.start(self.model)
        size = robot.observation(self._physics()).shape[1]
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), dtype=np.float64)
        self.metadata = {
            "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
            "render_fps": round(1 / self.dt),
        }
        self._set_up_drawing()

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = self._robot.model()
        buffer = model.vis.global_
        buffer.offwidth = max(buffer.offwidth, self.width)
        buffer.offheight = max(buffer.offheight, self.height)
        return model, mujoco.MjData(model)

    def _step_mujoco_simulation(self, ctrl: NDArray[np.float64], n_frames: int) -> None:
        self.data.ctrl[:] = ctrl
        mujoco.mj_step(self.model, self.data, nstep=n_frames)
        mujoco.mj_forward(self.model, self.data)

    def reset_model(self) -> NDArray[np.float64]:
        self._velocity = 0.0
        self.set_state(*self._robot.first_state(self.np_random, *self._init))
        self._observation = self._robot.observation(self._physics())[0]
        return self._observation.copy()
