"""Options of an evaluation: a sentence for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import tyro

from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.values import check_values
from runners.errors import require_at_least

DEFAULT_TASKS = {"episodes": 40, "examples": 600}
"""Held-out tasks, by the kind of data."""
DEFAULT_STEPS = {"episodes": 3, "examples": 10}
"""Inner steps, by the kind of data."""
DEFAULT_EPISODES = 20
"""Per task and step."""


class Sizes(NamedTuple):
    """Numbers that an evaluation of one run draws."""

    tasks: int
    steps: int
    episodes: int
    queries: int


@dataclass(frozen=True)
class EvalConfig:
    """Options of an evaluation."""

    limits: ClassVar[dict[str, float]] = {
        "tasks": 1_000_000,
        "steps": 10_000,
        "episodes": 1_000_000,
        "queries": 1_000_000,
        "seed": 2**128,
    }

    tasks: int | None = None
    """Held-out tasks; 40, or 600 where a run learns from examples, if not given."""
    steps: int | None = None
    """Inner steps, the most; 3, or 10 where a run learns from examples, if not given."""
    episodes: int | None = None
    """Episodes per task and step (runs on episodes); 20 if not given."""
    queries: int | None = None
    """Query examples per task, in classification per class (runs on examples); as in training if
    not given."""
    step_size: Annotated[float | None, tyro.conf.arg(aliases=["--inner-lr"])] = None
    """Size of the inner steps, before --later-step-share; as in training if not given."""
    later_step_share: float | None = None
    """Length of further inner steps than those of training, as a share of what they would be (the
    MAML paper: 0.5); as in the run's settings if not given."""
    deterministic: bool = False
    """Report the return of likeliest actions (runs on episodes); adaptation draws its own."""
    split: Literal["test", "validation"] = "test"
    """Split that the tasks are drawn from. Settings are chosen on the validation split, so that the
    test split has no part in it."""
    seed: int = 0
    """Draws the tasks and all randomness of the evaluation."""
    checkpoint: Path | None = None
    """Checkpoint folder, or `best`; the run's newest if not given."""
    device: str | None = None
    """Device that adaptation runs on; as in training if not given."""

    def sizes(self, trained: TrainConfig) -> Sizes:
        """Resolve how much is drawn of a run, by default as its kind of data needs.

        Raises:
            ConfigError: sizes out of range, or options that do not go with the run or each other.
        """
        check_values(self, option=True)
        sizes = Sizes(
            DEFAULT_TASKS[trained.data] if self.tasks is None else self.tasks,
            DEFAULT_STEPS[trained.data] if self.steps is None else self.steps,
            DEFAULT_EPISODES if self.episodes is None else self.episodes,
            trained.examples.queries if self.queries is None else self.queries,
        )
        require_at_least(1, tasks=sizes.tasks, episodes=sizes.episodes, queries=sizes.queries)
        require_at_least(0, steps=sizes.steps)
        if self.seed < 0:
            raise ConfigError(f"--seed must be at least 0, got {self.seed}.")
        self._check_data(trained)
        learns_sizes = trained.algorithm_class.learns_step_sizes(trained.algorithm_settings)
        if self.step_size is not None and learns_sizes:
            raise ConfigError(
                f"--step-size would not replace the step sizes that {trained.algorithm} has "
                "learned: leave it out."
            )
        return sizes

    def _check_data(self, trained: TrainConfig) -> None:
        """Refuse options that go with the other kind of data.

        Raises:
            ConfigError: the first of them.
        """
        if trained.data == "episodes":
            other, given = "examples", {"--queries": self.queries is not None}
        else:
            other = "episodes"
            given = {"--episodes": self.episodes is not None, "--deterministic": self.deterministic}
        for name in (name for name, is_given in given.items() if is_given):
            raise ConfigError(
                f"{name} is of {other}, and the run learned from {trained.data}: leave it out."
            )
