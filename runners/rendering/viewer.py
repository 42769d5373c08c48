"""Watch an adapted policy in MuJoCo's own window."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from rlmaml.errors import ConfigError
from runners import environments
from runners.rendering.adaptation import Adaptation, choose_tasks, steps_shown
from runners.run_dir import RunDir

PAUSE = 1.0
"""Seconds between an episode and the next."""


def watch(
    folder: RunDir,
    *,
    task: Any = None,
    steps: int | None = None,
    seed: int = 0,
    episodes: int = 20,
    deterministic: bool = False,
    checkpoint: Path | None = None,
) -> int:
    """Play the policy after adaptation, in real time, until the window is closed or Ctrl-C.

    The arguments are those of `runners.render.record`; several tasks are played in turn.

    Returns:
        How many steps were shown.

    Raises:
        ConfigError: there is no screen, or the environment is no MuJoCo robot.
    """
    if sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        raise ConfigError("--viewer needs a screen (DISPLAY is not set): leave it out for a video.")
    adaptation = Adaptation(folder, checkpoint, episodes, seed)
    tasks = choose_tasks(adaptation.config, task, seed)
    env = environments.make_single(adaptation.config)
    robot: Any = env.unwrapped
    if not hasattr(robot, "markers"):
        raise ConfigError(f"--viewer shows our robots, not {adaptation.config.env.id}.")
    steps = steps_shown(adaptation.config, steps)
    policies = [adaptation.policy(chosen, steps) for chosen in tasks]
    mujoco = importlib.import_module("mujoco")
    if not importlib.import_module("glfw").init():
        raise ConfigError("--viewer cannot open a window on this screen: leave it out for a video.")
    try:
        window = importlib.import_module("mujoco.viewer").launch_passive(
            robot.model, robot.data, show_left_ui=False, show_right_ui=False
        )
    except RuntimeError as problem:  # macOS wants it run by `mjpython`
        raise ConfigError(f"--viewer: {problem}.") from problem
    shown = 0
    with window, contextlib.suppress(KeyboardInterrupt):
        with window.lock():
            window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            window.cam.trackbodyid = robot.model.body("torso").id
            for name, value in robot.camera.items():
                setattr(window.cam, name, value)
        while window.is_running():
            for chosen, policy in zip(tasks, policies, strict=True):
                shown += _episode(window, env, chosen, policy, seed, deterministic)
                time.sleep(PAUSE if window.is_running() else 0)
    return shown


def _episode(window: Any, env: Any, task: Any, policy: Any, seed: int, deterministic: bool) -> int:
    """Steps that were shown until the episode ended or the window was closed."""
    robot: Any = env.unwrapped
    environments.set_task(env, task)
    observation, _ = env.reset(seed=seed)
    steps, ended = 0, False
    while window.is_running() and not ended:
        began = time.perf_counter()
        with window.lock():
            action = policy.act(observation, deterministic)
            observation, _, terminated, truncated, _ = env.step(action)
            _mark(window.user_scn, robot.markers())
        window.sync()
        steps, ended = steps + 1, terminated or truncated
        time.sleep(max(0.0, robot.dt - (time.perf_counter() - began)))
    return steps


def _mark(scene: Any, markers: Any) -> None:
    """Put these, and no others, into the scene."""
    mujoco = importlib.import_module("mujoco")
    scene.ngeom = len(markers)
    for geom, marker in zip(scene.geoms, markers, strict=False):
        mujoco.mjv_initGeom(geom, **marker)
