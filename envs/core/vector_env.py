"""The base of the vector environments: seeds, tasks, time limit, autoreset and infos."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from .step import DIVERGED, StepResult, check_actions
from .tasks import Split, Tasks

Rows = slice | NDArray[np.intp]
"""Choice of simulations: all of them as `slice(None)`, or their indices in ascending order."""


class TaskVectorEnv(VectorEnv):
    """M simulations in one process, a task for each, with gymnasium's vector interface.

    Differences from `gymnasium.vector.SyncVectorEnv`:

    - `info` describes the step just taken, densely: every key is an array with a row for every
      simulation, also for those that finished and were reset in the same step.
    - with `AutoresetMode.DISABLED`, a finished simulation is left alone by `step`: it keeps its
      last observation and its flags and earns 0 until a `reset` with a `reset_mask` takes it.
    - `AutoresetMode.NEXT_STEP` is refused: its dead step after each episode would have to be
      masked by every learner.

    Args:
        tasks: the task family.
        num_envs: M.
        observation_space: of one simulation.
        action_space: of one simulation.
        max_episode_steps: steps after which an episode is truncated; None for never.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        parameters: what the subclass's constructor was given, to be pickled.
    """

    diagnostics: tuple[str, ...] = ()
    """Keys of `info` with a float per simulation, `[M]`, that are worth recording."""

    def __init__(
        self,
        tasks: Tasks,
        num_envs: int,
        observation_space: spaces.Box | spaces.Discrete,
        action_space: spaces.Box | spaces.Discrete,
        max_episode_steps: int | None,
        autoreset_mode: AutoresetMode | str,
        parameters: Mapping[str, object],
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; at least one simulation is needed")
        self.num_envs = num_envs
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self._parameters = dict(parameters)
        self._family = tasks
        self._tasks = tasks.check(np.stack([tasks.default] * num_envs), num_envs)
        self._generators: list[np.random.Generator] = []
        self._seeds: list[int] = []
        self._actions_of_one = action_space
        shape = (num_envs, *(observation_space.shape or ()))
        self._observations: np.ndarray = np.zeros(shape, dtype=observation_space.dtype)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._terminations = np.zeros(num_envs, dtype=np.bool_)
        self._truncations = np.zeros(num_envs, dtype=np.bool_)
        self._diverged = np.zeros(num_envs, dtype=np.bool_)
        self._finished = np.zeros(num_envs, dtype=np.bool_)
        self._every = np.ones(num_envs, dtype=np.bool_)
        self._every.flags.writeable = False

    @abstractmethod
    def _restart(self, ids: NDArray[np.intp]) -> np.ndarray:
        """Put simulations `ids` into a first state drawn from their generators.

        Returns their observations, `[len(ids), D]`, or integers `[len(ids)]`.
        """

    @abstractmethod
    def _advance(self, rows: Rows, actions: np.ndarray) -> StepResult:
        """One step of simulations `rows` under their `actions`, `[m, A]`, or integers `[m]`.

        Must leave alone what the others are in, and return no view of anything kept.
        """

    @property
    def task_space(self) -> spaces.Box | spaces.Discrete:
        """The space that one task is a point of."""
        return self._family.space

    @property
    def tasks(self) -> np.ndarray:
        """The tasks, `[M, *task_space.shape]`. Setting them is `set_tasks`."""
        return self._tasks.copy()

    @tasks.setter
    def tasks(self, tasks: ArrayLike) -> None:
        self.set_tasks(tasks)

    def describe(self, task: np.ndarray) -> str:
        """A task, `[*task_space.shape]`, in a few words."""
        return self._family.describe(task)

    def set_tasks(self, tasks: ArrayLike) -> None:
        """Reward simulation i by `tasks[i]` from the next step on; `[M, *task_space.shape]`.

        Raises:
            ValueError: wrong shape, or a task outside `task_space`.
        """
        self._tasks = self._family.check(tasks, self.num_envs)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """`n` tasks, `[n, *task_space.shape]`, drawn from `rng` alone.

        Raises:
            ValueError: an unknown `split`.
        """
        return self._family.sample(n, rng, split)

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]  # gymnasium has a setter
        """One generator per simulation; empty before the first reset."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # gymnasium has a setter
        """The seed of each; empty before the first reset."""
        return tuple(self._seeds)

    def use_generators(self, generators: Sequence[np.random.Generator]) -> None:
        """Draw first states, and chance in steps, from the caller's M generators.

        `np_random_seed` is -1 then, as in gymnasium where a generator of unknown seed is set.
        """
        self._generators, self._seeds = list(generators), [-1] * len(generators)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: of the simulations that are reset. One integer s seeds simulation i with s + i;
                a sequence has a seed, or None, for each; None goes on with the generators.
            options: `"reset_mask"`, bool `[M]`, resets only some; `"tasks"` is `set_tasks`.

        Returns:
            Observations `[M, D]`, or `[M]` integers of a Discrete space, with the last ones of
            simulations that were not reset, and info.

        Raises:
            ValueError: unknown options, or a mask, seeds or tasks of the wrong size.
            gymnasium.error.ResetNeeded: the first reset has a mask that leaves some out.
        """
        options = options or {}
        unknown = sorted(set(options) - {"reset_mask", "tasks"})
        if unknown:
            raise ValueError(
                f"unknown reset options {unknown}; this environment has 'reset_mask' and 'tasks'"
            )
        mask = _reset_mask(np.asarray(options.get("reset_mask", self._every)), self.num_envs)
        seeds = _seeds(seed, self.num_envs)
        if options.get("tasks") is not None:
            self.set_tasks(np.asarray(options["tasks"]))
        if not self._generators and not mask.all():
            raise ResetNeeded("the first reset() must take every simulation; leave out reset_mask")
        ids = np.flatnonzero(mask)
        self._seed(seeds, ids)
        self._begin(ids)
        return self._observations.copy(), {"task": self._tasks.copy(), "_task": self._every}

    def step(
        self, actions: ArrayLike
    ) -> tuple[
        np.ndarray,
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Advance every simulation that is not finished by one step.

        Args:
            actions: `[M, A]`, finite. They may leave the action space: the simulator clamps
                what it applies, and the cost is that of the action as given. Of a Discrete space
                they are `[M]` integers, points of it.

        Returns:
            Observations as of `reset`, rewards `[M]`, terminations `[M]`, truncations `[M]` and
            info: arrays that no later step writes to. A simulation that blew up is truncated, with
            `info["diverged"]`, reward 0 and the observation before the step.

        Raises:
            ValueError: wrong shape; not finite; no actions of a Discrete space.
            gymnasium.error.ResetNeeded: no reset came before.
        """
        if not self._generators:
            raise ResetNeeded("call reset() before the first step()")
        actions = check_actions(actions, self._actions_of_one, self.num_envs)
        rows: Rows = slice(None)
        if self._finished.any():
            rows = np.flatnonzero(~self._finished)
        result = self._advance(rows, actions[rows])
        self._elapsed[rows] += 1
        self._observations[rows] = result.observations
        self._terminations[rows] = result.terminations
        self._diverged[rows] = result.diverged
        self._truncations[rows] = result.diverged | self._out_of_time(rows)
        self._finished = self._terminations | self._truncations

        rewards = self._spread(result.rewards, rows)
        details = {name: self._spread(values, rows) for name, values in result.details.items()}
        info = self._info(details)
        terminations, truncations = self._terminations.copy(), self._truncations.copy()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._finished.any():
            info |= self._final(info)
            self._begin(np.flatnonzero(self._finished))
        return self._observations.copy(), rewards, terminations, truncations, info

    def _out_of_time(self, rows: Rows) -> NDArray[np.bool_] | bool:
        limit = self.max_episode_steps
        return False if limit is None else self._elapsed[rows] >= limit

    def _spread(self, values: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
        """Values of simulations `rows` in an array for all, 0 for those left alone, `[M]`."""
        if isinstance(rows, slice):
            return values
        spread = np.zeros(self.num_envs)
        spread[rows] = values
        return spread

    def _info(self, details: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
        diverged = self._diverged.copy()
        info = {**details, "diverged": diverged, DIVERGED: diverged, "task": self._tasks.copy()}
        # gymnasium pairs every key with a mask of the simulations that have it.
        return info | {f"_{key}": self._every for key in info}

    def _final(self, info: dict[str, Any]) -> dict[str, Any]:
        """Info that gymnasium adds for simulations that finish and are reset in the same step."""
        mask = self._finished.copy()
        observations = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(mask):
            observations[i] = self._observations[i].copy()
        last = {key: mask if key.startswith("_") else value for key, value in info.items()}
        return {
            "final_obs": observations,
            "_final_obs": mask,
            "final_info": last,
            "_final_info": mask,
        }

    def _begin(self, ids: NDArray[np.intp]) -> None:
        self._observations[ids] = self._restart(ids)
        self._elapsed[ids] = 0
        for flags in (self._terminations, self._truncations, self._diverged, self._finished):
            flags[ids] = False

    def _seed(self, seeds: list[int | None] | None, ids: NDArray[np.intp]) -> None:
        if not self._generators:
            made = [seeding.np_random() for _ in range(self.num_envs)]
            self._generators, self._seeds = [m[0] for m in made], [m[1] for m in made]
        if seeds is None:
            return
        for i in ids.tolist():
            if seeds[i] is not None:
                self._generators[i], self._seeds[i] = seeding.np_random(seeds[i])

    def __repr__(self) -> str:
        name = self.spec.id if self.spec is not None else type(self._family).__name__
        return f"{type(self).__name__}({name}, num_envs={self.num_envs})"

    # Simulations do not pickle; what they were made with, and their tasks, do.
    def __getstate__(self) -> dict[str, object]:
        return {"parameters": self._parameters, "tasks": self._tasks, "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["parameters"])
        self.set_tasks(state["tasks"])
        self.spec = state["spec"]


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    mode = AutoresetMode(mode)
    if mode is AutoresetMode.NEXT_STEP:
        raise ValueError(
            "AutoresetMode.NEXT_STEP puts a step without physics after each episode, which every "
            "learner would have to mask; choose SAME_STEP, or DISABLED with options['reset_mask']"
        )
    return mode


def _reset_mask(mask: np.ndarray, num_envs: int) -> NDArray[np.bool_]:
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise ValueError(
            f"reset_mask is {mask.dtype} of shape {mask.shape}, expected bool of ({num_envs},)"
        )
    if not mask.any():
        raise ValueError("reset_mask is False everywhere; leave it out to reset everything")
    return mask


def _seeds(
    seed: int | Sequence[int | None] | NDArray[np.integer] | None, num_envs: int
) -> list[int | None] | None:
    if seed is None:
        return None
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(num_envs)]
    # gymnasium's generators insist on Python's own integers.
    seeds = [None if s is None else operator.index(s) for s in seed]
    if len(seeds) != num_envs:
        raise ValueError(f"{len(seeds)} seeds for {num_envs} environments; one for each is needed")
    return seeds
