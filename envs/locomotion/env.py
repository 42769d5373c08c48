"""The single environment of robots: one simulation, which can be drawn."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from ..core.env import SingleEnv
from .markers import Marker, goal_markers
from .rendering import Follower, Rendering, add, free, viewer_for
from .robots.base import Robot
from .simulation import MuJoCoData
from .tasks import Goal, LocomotionTasks
from .vector_env import LocomotionVectorEnv


class LocomotionEnv(SingleEnv):
    """A robot that is rewarded by its task, in a `gymnasium.Env`.

    Frames show the goal too, by what `markers.py` draws, and the camera follows the robot. A
    simulation that blew up truncates the episode with `info["diverged"]`, reward 0 and the
    observation before the step. A copy or a pickle keeps the task and must be reset.

    Args:
        robot: which robot.
        tasks: the task family.
        rendering: how it is drawn; None draws nothing.

    Attributes:
        model: MuJoCo's.
        data: the simulation. After writing to it, call `mujoco.mj_forward(model, data)`.
        mujoco_renderer: gymnasium's.
    """

    def __init__(
        self,
        robot: Robot,
        tasks: LocomotionTasks,
        rendering: Rendering | None = None,
    ) -> None:
        rendering = rendering or Rendering()
        vector = LocomotionVectorEnv(
            robot,
            tasks,
            1,
            max_episode_steps=None,
            autoreset_mode=AutoresetMode.DISABLED,
            num_threads=1,
            simulate=MuJoCoData,
        )
        parameters = {"robot": robot, "tasks": tasks, "rendering": rendering}
        super().__init__(vector, vector.family, parameters)
        assert isinstance(vector.simulation, MuJoCoData)
        self.model, self.data = vector.simulation.model, vector.simulation.data
        self.dt, self.frame_skip = vector.dt, robot.frame_skip
        self.render_mode = rendering.render_mode
        self.metadata = {
            "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
            "render_fps": round(1 / self.dt),
        }
        self._robot, self._robot_tasks = robot, vector.family
        self._velocity = np.zeros(2)
        bounds = _bounds(vector.family)
        self._fastest = _largest(goal.velocity for goal in bounds)
        self._camera = _camera(robot, _largest(goal.position for goal in bounds))
        self._rendering = rendering
        self._follower = None if rendering.fixed else Follower(robot.camera_height)
        self.mujoco_renderer = rendering.renderer(self.model, self.data, self._camera)
        # Not at exit, when OpenGL may have been closed before.
        weakref.finalize(self, free, self.mujoco_renderer._viewers).atexit = False

    @property
    def camera(self) -> dict[str, float]:
        """Default camera: from where frames look at the robot.

        It is the robot's own; where tasks are positions, further away, so that these are in view.
        """
        return dict(self._camera)

    def markers(self) -> tuple[Marker, ...]:
        """Arrows, or a disk on the ground, that show the task in a frame now."""
        goal = self._robot_tasks.goal(self._task[0])
        return goal_markers(goal, self._velocity, self._torso_position(), self._fastest)

    def render(self) -> Any:
        """Draw, as `render_mode` says; `[height, width, 3]` bytes for "rgb_array".

        Raises:
            NoOpenGLError: OpenGL is not available.
        """
        if self.render_mode is None:
            return None
        viewer = viewer_for(self.mujoco_renderer, self.render_mode, pretty=self._rendering.pretty)
        if self._follower is not None:
            self._follower.follow(self.render_mode, viewer, self._torso_position())
        add(viewer, self.markers())
        return self.mujoco_renderer.render(self.render_mode)

    def close(self) -> None:
        """Free what drawing took. Drawing again takes it anew."""
        free(self.mujoco_renderer._viewers)
        if self._follower is not None:
            self._follower.start_anew()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode; `options={"task": ...}` is `set_task` first."""
        observation, info = super().reset(seed=seed, options=options)
        self._velocity = np.zeros(2)
        if self.render_mode == "human":
            self.render()
        return observation, info

    def step(
        self, action: ArrayLike
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Hold `action`, `[A]`, for `frame_skip` simulator steps.

        Raises:
            ValueError: wrong shape, or not finite.
            gymnasium.error.ResetNeeded: no reset came before.
        """
        result = super().step(action)
        info = result[4]
        self._velocity = np.array([info["x_velocity"], info["y_velocity"]])
        if self.render_mode == "human":
            self.render()
        return result

    def set_state(self, qpos: NDArray[np.float64], qvel: NDArray[np.float64]) -> None:
        """Put the simulation into a state, `[nq]` and `[nv]`."""
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self.model, self.data)

    def _torso_position(self) -> NDArray[np.float64]:
        return self.data.body(self._robot.torso).xpos


def _bounds(family: LocomotionTasks) -> tuple[Goal, ...]:
    """The goals at either end of a task space that has ends."""
    space = family.space
    return (family.goal(space.low), family.goal(space.high)) if isinstance(space, Box) else ()


def _largest(vectors: Iterable[NDArray[np.float64] | None]) -> float:
    """The largest coordinate of vectors that are finite, or 0."""
    known = (v for v in vectors if v is not None and np.isfinite(v).all())
    return max((float(np.abs(v).max()) for v in known), default=0.0)


def _camera(robot: Robot, reach: float) -> dict[str, float]:
    """A robot's camera, or one that sees the ground as far as `reach`, in meters."""
    camera = dict(robot.camera)
    if reach:
        far = {"distance": max(3.0 * reach, camera["distance"]), "elevation": -50.0}
        camera.update(far)
    return camera
