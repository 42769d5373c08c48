"""Few-shot supervised learning: tasks that are read from labeled examples.

Such a task is one of horizon 1. The input is the first observation, the output is the action, the
reward is minus the loss, and the episode is over. A learner that differentiates the loss itself
asks the family for examples; one that only sees rewards plays `ExampleEnv`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from ..core.env import TaskEnv
from ..core.tasks import Tasks

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs `[N, k, *inputs.shape]`, float32, or int64 where they are token ids, and a target for
each."""


class ExampleTasks(Tasks[NDArray[np.float64]]):
    """A family of regression tasks, each a law that examples are drawn from.

    Subclasses supply `space`, `default`, `sample`, `inputs`, `outputs` and `draw`. For classes
    instead of numbers subclass `ClassTasks`.
    """

    inputs: spaces.Box
    """The space of one input: float32, or int64 for token ids, from 0 on."""
    outputs: spaces.Box | spaces.Discrete
    """The space of one target and of the output that should meet it.

    The bounds of a Box are those of the environment's actions. Nothing is clipped to them.
    """

    @abstractmethod
    def draw(self, tasks: np.ndarray, count: int, rng: np.random.Generator) -> Examples:
        """`count` independent examples of each task, drawn from `rng` and nothing else.

        Args:
            tasks: points of `space`, `[N, *space.shape]`; not checked here, see `check`.

        Returns:
            Inputs `[N, count, *inputs.shape]`, of the space's dtype, and targets: float32
            `[N, count, *outputs.shape]` for regression, int64 `[N, count]` for classes.
        """

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """A support set to adapt to and a query set to be judged on, of each task.

        Args:
            tasks: points of `space`, `[N, *space.shape]`.
            shots: examples of the support set; for classes, of each class.
            queries: the same of the query set.
            rng: the only source of chance.
        """
        inputs, targets = self.draw(tasks, shots + queries, rng)
        return (inputs[:, :shots], targets[:, :shots]), (inputs[:, shots:], targets[:, shots:])

    def check_episode(self, shots: int, queries: int) -> None:
        """Refuse an episode that cannot be drawn, before the first one is.

        Raises:
            ValueError: a number below 1, or more than there are examples.
        """
        if shots < 1 or queries < 1:
            raise ValueError(
                f"an episode of {shots} shots and {queries} queries cannot be drawn; "
                "it needs at least one of each"
            )

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> NDArray[np.float64]:
        """The squared error of each output, summed over its numbers, `[M]`.

        Both are `[M, *outputs.shape]`.
        """
        error = np.asarray(outputs, dtype=np.float64) - targets
        return np.square(error).reshape(len(error), -1).sum(axis=1)

    def reward(self, tasks: np.ndarray, result: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the loss, `[M]`."""
        return -result


class ClassTasks(ExampleTasks):
    """A family of classification tasks: targets are the classes 0, ..., way - 1 of each task.

    Subclasses supply `draw_inputs` in place of `draw`, and set `outputs` to a Discrete.
    """

    outputs: spaces.Discrete

    @property
    def way(self) -> int:
        """Classes of one task."""
        return int(self.outputs.n)

    @abstractmethod
    def draw_inputs(
        self, tasks: np.ndarray, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> np.ndarray:
        """An input of the class `labels[i, j]` of task i, independent, `[N, k, *inputs.shape]`.

        `labels` is `[N, k]`.
        """

    def draw(self, tasks: np.ndarray, count: int, rng: np.random.Generator) -> Examples:
        """`count` independent examples of each task; every class is as likely as the others."""
        labels = rng.integers(self.way, size=(len(tasks), count))
        return self.draw_inputs(tasks, labels, rng), labels

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """A support set of `shots` and a query set of `queries` examples of *each class*.

        Row `shot * way + c` is of class c, so that classes are balanced in the first `k * way`
        rows too, for every k.
        """
        labels = self.balanced(len(tasks), shots + queries)
        inputs = self.draw_inputs(tasks, labels, rng)
        cut = shots * self.way
        return (inputs[:, :cut], labels[:, :cut]), (inputs[:, cut:], labels[:, cut:])

    def balanced(self, n: int, count: int) -> NDArray[np.int64]:
        """0, ..., way - 1, `count` times over, for each of n tasks, `[n, count * way]`."""
        return np.tile(np.arange(self.way, dtype=np.int64), (n, count))

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> NDArray[np.float64]:
        """1 where the class is wrong, otherwise 0, `[M]`. Both are classes, `[M]`."""
        return (np.asarray(outputs) != targets).astype(np.float64)


class ExampleEnv(TaskEnv):
    """One example an episode: observe an input, act its output, be paid minus the loss.

    The example is drawn from the environment's own generator at `reset`. The task stays.

    Args:
        examples: the family.
        render_mode: None; there is nothing to draw.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    diagnostics: tuple[str, ...] = ("loss",)

    def __init__(self, examples: ExampleTasks, render_mode: None = None) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode is {render_mode!r}; examples have nothing to draw, pass None"
            )
        if isinstance(examples.outputs, spaces.Discrete) and not isinstance(examples, ClassTasks):
            raise TypeError(
                f"{type(examples).__name__} has classes as outputs; subclass ClassTasks, "
                "ExampleTasks alone has a squared error"
            )
        super().__init__(examples, {"examples": examples})
        self._examples = examples
        self.observation_space = examples.inputs
        self.action_space = examples.outputs
        self._input: np.ndarray | None = None
        self._target: np.ndarray = np.zeros(0)

    @property
    def examples(self) -> ExampleTasks:
        """The family that examples are drawn from."""
        return self._examples

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw the next example; `options={"task": ...}` is `set_task` first."""
        super().reset(seed=seed)
        self._take_options(options)
        inputs, targets = self._examples.draw(self._task, 1, self.np_random)
        observation = inputs[0, 0]
        self._input, self._target = observation, targets[0]
        return observation.copy(), {"task": self.task}

    def step(self, action: ArrayLike) -> tuple[np.ndarray, np.float64, bool, bool, dict[str, Any]]:
        """Answer with `action`, a point of `action_space` or beyond its bounds. Ends the episode.

        Raises:
            ValueError: `action` has another shape, is not finite, or is no class of the task.
            gymnasium.error.ResetNeeded: no reset came before.
        """
        if self._input is None:
            raise ResetNeeded("call reset() before the first step()")
        observation = self._input.copy()
        loss = self._examples.loss(self._check(action), self._target)
        info = {"loss": loss[0], "target": self._target[0].copy(), "task": self.task}
        reward = self._examples.reward(self._task, loss)[0]
        return observation, reward, True, False, info

    def _check(self, action: ArrayLike) -> np.ndarray:
        """`action` as a batch of one, `[1, *action_space.shape]`."""
        if isinstance(self.action_space, spaces.Discrete):
            given = np.asarray(action)
            if not self.action_space.contains(given):
                raise ValueError(
                    f"the action is {action!r}, expected a class: an integer from 0 to "
                    f"{int(self.action_space.n) - 1}"
                )
            return given[None]
        checked = np.asarray(action, dtype=np.float64)
        if checked.shape != self.action_space.shape:
            raise ValueError(
                f"the action has shape {checked.shape}, expected {self.action_space.shape}"
            )
        if not np.isfinite(checked).all():
            raise ValueError(
                f"the action is not finite: {checked.tolist()}; look at the policy's parameters, "
                "its last update may have diverged"
            )
        return checked[None]
