"""Tabular environments: bandits and random finite MDPs, which can be enumerated."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from .core.arguments import check_count, check_scale
from .core.env import SingleEnv
from .core.step import StepResult
from .core.tasks import Split, Tasks, check_split
from .core.vector_env import Rows, TaskVectorEnv

SUM_TOLERANCE = 1e-6
"""Largest difference from one of the sum of probabilities of a task's next states."""


class TableStep(NamedTuple):
    """Outcome of m steps in tables, `[m]` each, for the family to reward."""

    means: NDArray[np.float64]
    """Mean reward of the action taken in the state it was taken in."""
    uniforms: NDArray[np.float64]
    """Numbers uniform on [0, 1). They have also chosen the next states, so a reward may depend on
    them only if the next state does not."""
    normals: NDArray[np.float64]
    """Standard normal numbers, independent of the others."""


class TabularTasks(Tasks[TableStep]):
    """A family of finite MDPs of S states and A actions, without an end but the time limit.

    Subclasses supply `space`, `default`, `sample` and `tables`, and may supply `reward`. Episodes
    start in state 0.

    Args:
        num_states: S.
        num_actions: A.
    """

    def __init__(self, num_states: int, num_actions: int) -> None:
        self.num_states = num_states
        self.num_actions = num_actions

    @abstractmethod
    def tables(self, tasks: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All there is to know of tasks, `[n, *space.shape]`; not checked here, see `check`.

        Returns:
            The probability of every next state, `[n, S, A, S]`, and the mean reward, `[n, S, A]`:
            views that are not to be written to.
        """

    def reward(self, tasks: np.ndarray, result: TableStep) -> NDArray[np.float64]:
        """The mean itself, without noise, `[M]`."""
        return result.means


class RandomMDPs(TabularTasks):
    """The random MDPs of RL² (Duan et al. 2016, arXiv:1611.02779, section 3.2).

    A task is an array `[S, A, S + 1]`: for every state and action the S probabilities of the next
    state, then the mean reward. Probabilities are drawn from a flat Dirichlet distribution, mean
    rewards from N(1, 1), all independent; the splits are the same law.

    Args:
        num_states: S; the paper's 10.
        num_actions: A; the paper's 5.
        reward_noise: standard deviation of the Gaussian noise on every reward; the paper's 1.
    """

    def __init__(
        self, num_states: int = 10, num_actions: int = 5, reward_noise: float = 1.0
    ) -> None:
        states, actions = (
            check_count("num_states", num_states),
            check_count("num_actions", num_actions),
        )
        super().__init__(states, actions)
        self._reward_noise = check_scale("reward_noise", reward_noise)
        low = np.zeros((states, actions, states + 1))
        low[..., -1] = -np.inf
        high = np.ones_like(low)
        high[..., -1] = np.inf
        self.space = spaces.Box(low, high, dtype=np.float64)
        # Actions that differ, so that there is something to learn without a task too.
        self.default = np.full(low.shape, 1.0 / states)
        self.default[..., -1] = np.linspace(0.0, 2.0, actions)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        pairs = (n, self.num_states, self.num_actions)
        transitions = rng.dirichlet(np.ones(self.num_states), size=pairs)
        means = rng.normal(1.0, 1.0, size=pairs)
        return np.concatenate([transitions, means[..., None]], axis=-1)

    def check(self, tasks: ArrayLike, count: int) -> np.ndarray:
        """Check as every family does; a state and action's probabilities also have to sum to one.

            Raises:
        ValueError: sums further than 1e-6 from one, or a task that any family refuses.
        """
        checked = super().check(tasks, count)
        wrong = np.abs(checked[..., :-1].sum(axis=-1) - 1.0) > SUM_TOLERANCE
        if wrong.any():
            task, state, action = np.argwhere(wrong)[0].tolist()
            row = checked[task, state, action, :-1]
            raise ValueError(
                f"task {task} has probabilities {row[:8].tolist()}{' ...' * (len(row) > 8)} of the "
                f"states after state {state} and action {action}, which sum to {row.sum():.9g}; "
                "divide them by their sum, and keep the mean reward, which stands last, out of it"
            )
        return checked

    def tables(self, tasks: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return tasks[..., :-1], tasks[..., -1]

    def reward(self, tasks: np.ndarray, result: TableStep) -> NDArray[np.float64]:
        return result.means + self._reward_noise * result.normals


class _Bandits(TabularTasks):
    """One state; a task is a mean reward for each arm, `[A]`."""

    def __init__(self, num_arms: int) -> None:
        super().__init__(1, check_count("num_arms", num_arms))

    def tables(self, tasks: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        means = tasks[:, None, :]
        return np.broadcast_to(1.0, (*means.shape, 1)), means


class BernoulliBandits(_Bandits):
    """Arms that pay 1 or nothing.

    A task is the probability that an arm pays, for each arm, `[A]`, uniform on [0, 1] (Duan et al.
    2016, section 3.1); the splits are the same law.

    Args:
        num_arms: A.
    """

    def __init__(self, num_arms: int = 5) -> None:
        super().__init__(num_arms)
        self.space = spaces.Box(0.0, 1.0, (self.num_actions,), dtype=np.float64)
        self.default = np.linspace(0.0, 1.0, self.num_actions)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.uniform(size=(n, self.num_actions))

    def reward(self, tasks: np.ndarray, result: TableStep) -> NDArray[np.float64]:
        # The one next state does not depend on the uniform number.
        return (result.uniforms < result.means).astype(np.float64)


class GaussianBandits(_Bandits):
    """Arms that pay a number with Gaussian noise.

    A task is the mean of what an arm pays, for each arm, `[A]`, drawn from N(0, 1); the splits are
    the same law.

    Args:
        num_arms: A.
        noise_scale: standard deviation of the noise.
    """

    def __init__(self, num_arms: int = 5, noise_scale: float = 1.0) -> None:
        super().__init__(num_arms)
        self._noise_scale = check_scale("noise_scale", noise_scale)
        self.space = spaces.Box(-np.inf, np.inf, (self.num_actions,), dtype=np.float64)
        self.default = np.linspace(-1.0, 1.0, self.num_actions)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.standard_normal((n, self.num_actions))

    def reward(self, tasks: np.ndarray, result: TableStep) -> NDArray[np.float64]:
        return result.means + self._noise_scale * result.normals


def transition(
    family: TabularTasks,
    tasks: np.ndarray,
    states: NDArray[np.int64],
    actions: NDArray[np.int64],
    chances: NDArray[np.float64],
) -> StepResult:
    """One step of m tables.

    Args:
        family: the task family.
        tasks: a task each, `[m, *space.shape]`.
        states: `[m]`.
        actions: `[m]`.
        chances: a uniform number and a standard normal one each, see `draw`, `[m, 2]`.
    """
    rows = np.arange(len(states))
    transitions, means = family.tables(tasks)
    cumulative = np.cumsum(transitions[rows, states, actions], axis=1)
    # Of a sum that rounding left beside one: no state of probability 0 is ever reached.
    drawn = chances[:, 0] * cumulative[:, -1]
    following = (cumulative <= drawn[:, None]).sum(axis=1, dtype=np.int64)
    choices = means[rows, states]
    taken = choices[rows, actions]
    rewards = family.reward(tasks, TableStep(taken, *chances.T))
    never = np.zeros(len(states), dtype=np.bool_)
    regret = choices.max(axis=1) - taken
    return StepResult(following, rewards, never, never.copy(), {"regret": regret})


def draw(generator: np.random.Generator) -> tuple[float, float]:
    """The chance of one step: a number uniform on [0, 1), and a standard normal one.

    Both are always drawn, so that what a generator gives next depends on no setting.
    """
    return generator.random(), generator.standard_normal()


class TabularVectorEnv(TaskVectorEnv):
    """M finite MDPs or bandits with a task each.

    The state is observed, as an integer. An episode starts in state 0 and has no end of its own.

    Args:
        tasks: the family.
        num_envs: M.
        max_episode_steps: None for no time limit.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        num_threads: taken for the same call to serve every family; unused.
    """

    diagnostics = ("regret",)

    def __init__(
        self,
        tasks: TabularTasks,
        num_envs: int,
        *,
        max_episode_steps: int | None = 10,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int | None = None,
    ) -> None:
        parameters = {
            "tasks": tasks,
            "num_envs": num_envs,
            "max_episode_steps": max_episode_steps,
            "autoreset_mode": autoreset_mode,
        }
        super().__init__(
            tasks,
            num_envs,
            spaces.Discrete(tasks.num_states),
            spaces.Discrete(tasks.num_actions),
            max_episode_steps,
            autoreset_mode,
            parameters,
        )
        self._tables = tasks

    def _restart(self, ids: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.zeros(len(ids), dtype=np.int64)

    def _advance(self, rows: Rows, actions: NDArray[np.int64]) -> StepResult:
        # The state is the observation: the base class keeps it.
        ids = np.arange(self.num_envs)[rows]
        chances = np.array([draw(self._generators[i]) for i in ids.tolist()]).reshape(-1, 2)
        states = self._observations[rows]
        return transition(self._tables, self._tasks[rows], states, actions, chances)


class TabularEnv(SingleEnv):
    """One finite MDP or bandit of `TabularVectorEnv`, in a `gymnasium.Env`.

    Args:
        tasks: the family.
        render_mode: None; there is nothing to draw.

    Raises:
        ValueError: another `render_mode`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, tasks: TabularTasks, render_mode: None = None) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode is {render_mode!r}; a table has nothing to draw, pass None"
            )
        vector = TabularVectorEnv(
            tasks, 1, max_episode_steps=None, autoreset_mode=AutoresetMode.DISABLED
        )
        super().__init__(vector, tasks, {"tasks": tasks})
