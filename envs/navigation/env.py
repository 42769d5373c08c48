"""A point on a plane that goes where the task says, without seeing where that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from ..core.env import TaskEnv
from ..core.step import Outcome, check_actions
from ..core.vector_env import Rows, TaskVectorEnv
from .rendering import PlaneView
from .tasks import GoalPoint

MAX_STEP = 0.1
"""How far an action moves the point in either coordinate at most."""
REACHED = 0.01
"""The episode ends when both coordinates are nearer to the goal than this."""


def move(family: GoalPoint, tasks: NDArray[Any], start: Any, actions: Any, unit: float) -> Outcome:
    """One step of m points from `start`, `[m, 2]`, under `actions`, `[m, 2]`, in units of `unit`.

    The reward is minus the distance to the goal after the move.
    """
    position = start + np.clip(unit * actions, -MAX_STEP, MAX_STEP)
    rewards = family.reward(tasks, position)
    reached = (np.abs(position - tasks) < REACHED).all(axis=1)
    never = np.zeros(len(position), dtype=np.bool_)
    return Outcome(position, rewards, reached, never, {"distance": -rewards})


def _position_space() -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64)


def _action_space(scaled: bool) -> tuple[spaces.Box, float]:
    """The space of actions, and how far an action of 1 moves the point."""
    if not isinstance(scaled, bool):
        raise TypeError(f"scaled_actions is {scaled!r}; it is True or False")
    unit = MAX_STEP if scaled else 1.0
    most = MAX_STEP / unit
    return spaces.Box(-most, most, (2,), dtype=np.float32), unit


class Navigation(TaskEnv):
    """2-D navigation of the MAML paper, in a `gymnasium.Env`.

    The point starts at the origin, an action is clipped to ±.1 and added to the position, which
    is all that is observed. Nothing here is random but the task.

    Args:
        tasks: where goals are.
        scaled_actions: actions are in ±1, and 1 is the largest move, .1.
        render_mode: "rgb_array": `render` draws goal, start, the episode's path and the point;
            None: nothing is drawn.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
        pretty: taken for the same call to serve every family; pictures have smooth edges anyway.

    Attributes:
        background_paths: paths of other episodes, `[T, 2]` each, that pictures show faintly.

    Raises:
        ValueError: another `render_mode`, or a picture without pixels.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    diagnostics: tuple[str, ...] = ("distance",)

    def __init__(
        self,
        tasks: GoalPoint,
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
            raise ValueError(f"pictures are {width} x {height} pixels; both must be at least 1")
        parameters = {"render_mode": render_mode, "width": width, "height": height}
        self._start_tasks(tasks, {"tasks": tasks, "scaled_actions": scaled_actions, **parameters})
        self._family = tasks
        self.render_mode = render_mode
        self.background_paths: Sequence[NDArray[np.float64]] = ()
        largest = max(float(np.abs([tasks.space.low, tasks.space.high]).max()), MAX_STEP)
        self._view = PlaneView(width, height, 1.3 * largest)
        self.observation_space = _position_space()
        self.action_space, self._unit = _action_space(scaled_actions)
        self._position = np.zeros((1, 2))
        self._path = [self._position[0]]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode at the origin; `options={"task": ...}` is `set_task` first."""
        super().reset(seed=seed)
        self._take_options(options)
        self._position = np.zeros((1, 2))
        self._path = [self._position[0]]
        return self._position[0].copy(), {"task": self.task}

    def step(
        self, action: ArrayLike
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Move by `action`, `[2]`.

        Raises:
            ValueError: `action` has another shape or is not finite.
        """
        actions = check_actions(np.asarray(action)[None], self.action_space, 1)
        outcome = move(self._family, self._task, self._position, actions, self._unit)
        self._position = outcome.observations
        if self.render_mode is not None:
            self._path.append(self._position[0])
        info = {name: values[0] for name, values in outcome.details.items()}
        info |= {"diverged": False, "task": self.task}
        reached = bool(outcome.terminations[0])
        return self._position[0].copy(), outcome.rewards[0], reached, False, info

    def render(self) -> Any:
        """A picture, `[height, width, 3]` bytes; None where `render_mode` is."""
        if self.render_mode is None:
            return None
        return self._view.draw(self._task[0], np.stack(self._path), self.background_paths)


class BatchedNavigation(TaskVectorEnv):
    """M points with a goal each, equal to the bit to M single environments.

    Args:
        tasks: where goals are.
        scaled_actions: as of `Navigation`.
        num_envs: M.
        max_episode_steps: None for no time limit.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        num_threads: taken for the same call to serve every family; unused.
    """

    diagnostics = ("distance",)

    def __init__(
        self,
        tasks: GoalPoint,
        num_envs: int,
        *,
        scaled_actions: bool = False,
        max_episode_steps: int | None = 100,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int | None = None,
    ) -> None:
        action_space, self._unit = _action_space(scaled_actions)
        parameters = {
            "tasks": tasks,
            "num_envs": num_envs,
            "scaled_actions": scaled_actions,
            "max_episode_steps": max_episode_steps,
            "autoreset_mode": autoreset_mode,
        }
        super().__init__(
            tasks,
            num_envs,
            _position_space(),
            action_space,
            max_episode_steps,
            autoreset_mode,
            parameters,
        )
        self._goals = tasks

    def _restart(self, ids: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.zeros((len(ids), 2))

    def _advance(self, rows: Rows, actions: NDArray[np.float64]) -> Outcome:
        # The position is the observation: the base class keeps it.
        return move(self._goals, self._tasks[rows], self._observations[rows], actions, self._unit)
