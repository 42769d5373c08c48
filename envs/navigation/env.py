"""A point on a plane that goes where the task says, without seeing where that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from ..core.arguments import check_bool
from ..core.env import SingleEnv
from ..core.step import StepResult
from ..core.vector_env import Rows, TaskVectorEnv
from .rendering import PlaneView
from .tasks import PlaneTasks

MAX_STEP = 0.1
"""Longest move of the point by an action, in either coordinate."""


class NavigationVectorEnv(TaskVectorEnv):
    """2-D navigation: M points with a goal each.

    A point starts at the origin, an action is clipped to ±0.1 and added to the position, which is
    all that is observed. The task family says where goals are, what a position pays, and when an
    episode is over. Nothing here is random but the task.

    With `GoalPoint` it is the MAML paper's, with `GoalAngle` the sparse one of PEARL, whose
    environment leaves clipping to the one around it.

    Args:
        tasks: where goals are, and what is paid.
        num_envs: M.
        scaled_actions: actions are in ±1, and 1 is the largest move, 0.1.
        max_episode_steps: None for no time limit.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        num_threads: taken for the same call to serve every family; unused.
    """

    def __init__(
        self,
        tasks: PlaneTasks,
        num_envs: int,
        *,
        scaled_actions: bool = False,
        max_episode_steps: int | None = 100,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int | None = None,
    ) -> None:
        parameters = {
            "tasks": tasks,
            "num_envs": num_envs,
            "scaled_actions": scaled_actions,
            "max_episode_steps": max_episode_steps,
            "autoreset_mode": autoreset_mode,
        }
        # How far an action of 1 moves the point.
        self._unit = MAX_STEP if check_bool("scaled_actions", scaled_actions) else 1.0
        most = MAX_STEP / self._unit
        super().__init__(
            tasks,
            num_envs,
            spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64),
            spaces.Box(-most, most, (2,), dtype=np.float32),
            max_episode_steps,
            autoreset_mode,
            parameters,
        )
        self.diagnostics = tasks.diagnostics
        self._goals = tasks

    def _restart(self, ids: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.zeros((len(ids), 2))

    def _advance(self, rows: Rows, actions: NDArray[np.float64]) -> StepResult:
        # The position is the observation: the base class keeps it.
        tasks = self._tasks[rows]
        position = self._observations[rows] + np.clip(self._unit * actions, -MAX_STEP, MAX_STEP)
        rewards, details = self._goals.reward(tasks, position), self._goals.details(tasks, position)
        off = np.abs(position - self._goals.goals(tasks)).max(axis=1)
        never = np.zeros(len(position), dtype=np.bool_)
        return StepResult(position, rewards, off < self._goals.reached, never, details)


class NavigationEnv(SingleEnv):
    """One point of `NavigationVectorEnv`, in a `gymnasium.Env`.

    Args:
        tasks: as of `NavigationVectorEnv`.
        scaled_actions: as of `NavigationVectorEnv`.
        render_mode: "rgb_array": `render` draws goal, start, the episode's path and the point;
            None: nothing is drawn.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        pretty: taken for the same call to serve every family; frames have smooth edges anyway.

    Attributes:
        background_paths: paths of other episodes, `[T, 2]` each, that frames show faintly.

    Raises:
        ValueError: an unknown `render_mode`, or a frame without pixels.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        tasks: PlaneTasks,
        scaled_actions: bool = False,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        pretty: bool = False,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(
                f"render_mode is {render_mode!r}; navigation draws 'rgb_array', or nothing (None)"
            )
        if min(width, height) < 1:
            raise ValueError(f"frames are {width} x {height} pixels; both must be at least 1")
        vector = NavigationVectorEnv(
            tasks,
            1,
            scaled_actions=scaled_actions,
            max_episode_steps=None,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        drawing = {"render_mode": render_mode, "width": width, "height": height}
        parameters = {"tasks": tasks, "scaled_actions": scaled_actions, **drawing}
        super().__init__(vector, tasks, parameters)
        self.render_mode = render_mode
        self._goals = tasks
        self.background_paths: Sequence[NDArray[np.float64]] = ()
        extent = 1.3 * max(tasks.extent, MAX_STEP)
        self._view = PlaneView(width, height, extent, tasks.goal_radius, tasks.lines())
        self._path: list[NDArray[np.float64]] = [np.zeros(2)]

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode at the origin; `options={"task": ...}` is `set_task` first."""
        position, info = super().reset(seed=seed, options=options)
        self._path = [position.copy()]
        return position, info

    def step(
        self, action: ArrayLike
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Move by `action`, `[2]`.

        Raises:
            ValueError: wrong shape, or not finite.
            gymnasium.error.ResetNeeded: no reset came before.
        """
        result = super().step(action)
        if self.render_mode is not None:
            self._path.append(result[0].copy())
        return result

    # gymnasium's type is of frames of any kind, or lists of them.
    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A frame, `[height, width, 3]` bytes; None where `render_mode` is."""
        if self.render_mode is None:
            return None
        goal = self._goals.goals(self._task)[0]
        return self._view.draw(goal, np.stack(self._path), self.background_paths)
