"""An adapted policy in MuJoCo's own window, in real time."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from rlmaml import AdaptedPolicy
from rlmaml.errors import ConfigError
from runners import environments
from runners.rendering.adaptation import Adaptation

if TYPE_CHECKING:
    import mujoco
    from mujoco.viewer import Handle

PAUSE = 1.0
"""Seconds between an episode and the next."""


@dataclass(frozen=True)
class Watched:
    """A record of what was shown in the window."""

    steps: int

    def __str__(self) -> str:
        return f"Shown: {self.steps} steps."


@runtime_checkable
class Robot(Protocol):
    """Demands of the window on an environment."""

    model: mujoco.MjModel
    data: mujoco.MjData
    dt: float
    camera: Mapping[str, float]

    def markers(self) -> Sequence[Mapping[str, object]]:
        """Arguments of `mjv_initGeom` for each shape to be drawn beside the robot."""
        ...


def check_screen() -> None:
    """Check that there is a screen to open a window on.

    Raises:
        ConfigError: a Linux session without a display.
    """
    if sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        raise ConfigError("--viewer needs a screen (DISPLAY is not set): leave it out for a video.")


def watch(
    adaptation: Adaptation, tasks: np.ndarray, steps: int, seed: int, deterministic: bool
) -> Watched:
    """Play the policy after adaptation until the window is closed or Ctrl-C.

    Args:
        adaptation: of the run.
        tasks: played in turn, [n, *task_space.shape].
        steps: inner steps.
        seed: of every episode.
        deterministic: take the likeliest actions.

    Raises:
        ConfigError: an environment that is no MuJoCo robot, or a window that cannot be opened.
    """
    shown = 0
    with contextlib.closing(environments.make_single(adaptation.config)) as env:
        robot = env.unwrapped
        if not isinstance(robot, Robot):
            raise ConfigError(f"--viewer shows our robots, not {adaptation.config.env.id}.")
        policies = [adaptation.policy(task, steps) for task in tasks]
        with _open(robot) as window, contextlib.suppress(KeyboardInterrupt):
            while window.is_running():
                for task, policy in zip(tasks, policies, strict=True):
                    shown += _play(window, env, robot, task, policy, seed, deterministic)
                    time.sleep(PAUSE if window.is_running() else 0)
    return Watched(shown)


def _open(robot: Robot) -> Handle:
    """MuJoCo's window, whose camera follows the robot."""
    import glfw
    import mujoco.viewer

    if not glfw.init():
        raise ConfigError("--viewer cannot open a window on this screen: leave it out for a video.")
    try:
        window = mujoco.viewer.launch_passive(
            robot.model, robot.data, show_left_ui=False, show_right_ui=False
        )
    except RuntimeError as problem:  # macOS wants it run by `mjpython`
        raise ConfigError(f"--viewer: {problem}.") from problem
    with window.lock():
        window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        window.cam.trackbodyid = robot.model.body("torso").id
        for name, value in robot.camera.items():
            setattr(window.cam, name, value)
    return window


def _play(
    window: Handle,
    env: gymnasium.Env,
    robot: Robot,
    task: Any,
    policy: AdaptedPolicy,
    seed: int,
    deterministic: bool,
) -> int:
    """Play an episode until it ends or the window is closed; the number of steps shown."""
    import mujoco

    environments.set_task(env, task)
    observation, _ = env.reset(seed=seed)
    steps, ended = 0, False
    while window.is_running() and not ended:
        began = time.perf_counter()
        with window.lock():
            action = policy.act(observation, deterministic)
            observation, _, terminated, truncated, _ = env.step(action)
            markers, scene = robot.markers(), window.user_scn
            if scene is not None:
                scene.ngeom = len(markers)
                for geom, marker in zip(scene.geoms, markers, strict=False):
                    mujoco.mjv_initGeom(geom, **marker)
        window.sync()
        steps, ended = steps + 1, terminated or truncated
        time.sleep(max(0.0, robot.dt - (time.perf_counter() - began)))
    return steps
