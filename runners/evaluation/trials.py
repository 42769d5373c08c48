"""Settings of an algorithm by trials, as many for each, on tasks that no table is of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml.build import data_per_task
from rlmaml.config import Options, TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from runners import formatting
from runners.command_line.terminal import say
from runners.errors import TrainingStopped, require_at_least
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.records import Record, from_record, to_record
from runners.io import read_json, write_json
from runners.presets import with_algorithm
from runners.run_dir import RunDir

STEPS = {"episodes": (0, 1, 2, 3), "examples": (0, 1, 5, 10)}
"""Inner steps whose scores are tabulated, by the kind of data."""
DECADES, DECADES_OF_KL = 1.0, 0.5
"""Sizes and rates, and bounds on a divergence, are drawn from so many powers of ten below and above
the algorithm's own."""
_DRAWS = 1000
"""Settings that are drawn before it is found that an algorithm takes none of them."""


@dataclass(frozen=True)
class TrialConfig:
    """How settings are looked for."""

    count: int = 0
    """Trials of each algorithm, the first with its own settings; 0 looks for none."""
    seed: int = 100
    """Seed of the trials: of the settings drawn, of the runs, and of their validation tasks."""
    iterations: int | None = None
    """Meta-iterations of a trial, counted as those of the comparison; as many if None."""

    def check(self, seeds: tuple[int, ...]) -> None:
        """Check it beside the seeds of what is published.

        Raises:
            ConfigError: numbers out of range, or a seed that settings would be chosen on.
        """
        require_at_least(0, trials=self.count, trial_seed=self.seed)
        require_at_least(1, trial_iterations=self.iterations)
        if self.count and self.seed in seeds:
            raise ConfigError(
                f"--trial-seed {self.seed} is among --seeds: settings would be chosen on what they "
                "are measured by. Take another."
            )
        if not self.count and self.iterations is not None:
            raise ConfigError("--trial-iterations goes with --trials: add it.")


@dataclass(frozen=True)
class Trial:
    """One trial."""

    options: Options
    """Settings, where they are not the algorithm's own there."""
    score: float | None
    """The best mean over tasks after one inner step or more of those tabulated; None of none."""
    metric: str = ""
    """Metric of the score."""
    problem: str = ""
    """Why it has no score."""

    @property
    def merit(self) -> float:
        """The score, so that more is better; less than any of a trial without one."""
        if self.score is None:
            return -math.inf
        return self.score if formatting.higher_is_better(self.metric) else -self.score


@dataclass(frozen=True)
class Search:
    """The search for one algorithm's settings.

    Args:
        config: the problem.
        name: of the algorithm.
        data: examples (or episodes) of every task that a trial may draw.
        tasks: validation tasks; as of `rlmaml evaluate` if None.
        how: how many trials, and by which seed.
        out: folder of the trials; `trials.json` there tells of them.
    """

    config: TrainConfig
    name: str
    data: Fraction
    tasks: int | None
    how: TrialConfig
    out: Path

    def best(self, train: Callable[[TrainConfig, Path], RunDir], quiet: bool) -> Options:
        """Train and measure what has not been yet; return the settings of the best trial.

        Args:
            train: trains a run in a folder, or finds it there.
            quiet: show no progress.

        Raises:
            ConfigError: a family without validation tasks.
        """
        file = self.out / "trials.json"
        known = self._known(file)
        trials: list[Trial] = []
        for number, options in enumerate(self.drawn()):
            trial = next((each for each in known if each.options == options), None)
            if trial is None:
                folder = self.out / f"{number:02d}"
                trial = self._tried(options, folder, train, quiet)
            trials.append(trial)
            write_json(file, self._record(trials))
            score = "no score" if trial.score is None else f"{trial.score:.4g}"
            words = "  ".join(f"{name} {value}" for name, value in options.items())
            say(f"{self.name}, trial {number + 1} of {self.how.count}: {score}  {words}")
        best = max(trials, key=lambda each: each.merit)
        return {} if best.score is None else best.options

    def drawn(self) -> list[Options]:
        """The settings of all trials: first the algorithm's own, then others around them.

        Every size and rate meets each part of its range as often (a Latin hypercube). Settings that
        the algorithm refuses are drawn again.
        """
        own = with_algorithm(self.config, self.name)
        ranges, choices = _ranges(own), _choices(own)
        rng = generator(self.how.seed, 0, Phase.TRIALS)
        others = self.how.count - 1
        orders = {name: rng.permutation(others) for name in ranges}

        def around(row: int) -> Options:
            for attempt in range(_DRAWS):
                options: Options = {}
                for name, (value, decades) in ranges.items():
                    part = rng.integers(others) if attempt else orders[name][row]
                    share = (part + rng.random()) / others
                    options[name] = _short(value * 10 ** (decades * (2 * share - 1)))
                for name, values in choices.items():
                    options[name] = values[rng.integers(len(values))]
                if self._allowed(options):
                    return options
            raise ConfigError(
                f"{self.name} refuses {_DRAWS} settings around its own on {own.preset}."
            )

        return [{}, *(around(row) for row in range(others))]

    def _allowed(self, options: Options) -> bool:
        try:
            budgeted(self.config, self.name, self.data, options)
        except ConfigError:
            return False
        return True

    def _tried(
        self,
        options: Options,
        folder: Path,
        train: Callable[[TrainConfig, Path], RunDir],
        quiet: bool,
    ) -> Trial:
        config = budgeted(self.config, self.name, self.data, options)
        steps = STEPS[config.data]
        asked = EvalConfig(
            tasks=self.tasks, steps=max(steps), seed=self.how.seed, split="validation"
        )
        try:
            run = train(dataclasses.replace(config, seed=self.how.seed), folder)
            result = measure(run, asked, quiet=quiet)
        except (FloatingPointError, TrainingStopped) as problem:
            return Trial(options, None, problem=str(problem))
        means = result.scores[result.metric].mean(0)[list(steps[1:])]
        finite = means[np.isfinite(means)]
        if not len(finite):
            return Trial(options, None, problem="no score is finite")
        best = finite.max() if result.higher_is_better else finite.min()
        return Trial(options, float(best), result.metric)

    def _record(self, trials: list[Trial]) -> Record:
        return {"made_from": self._made_from(), "trials": to_record(trials)}

    def _made_from(self) -> Record:
        config = budgeted(self.config, self.name, self.data, {})
        how = {"seed": self.how.seed, "count": self.how.count, "tasks": self.tasks}
        return {"config": config.to_dict(), **how}

    def _known(self, file: Path) -> list[Trial]:
        """Trials that were done already, by the same search."""
        if not file.exists():
            return []
        record = read_json(file)
        if record.get("made_from") != self._made_from():
            return []
        found = record.get("trials")
        return [from_record(Trial, each, file) for each in found] if isinstance(found, list) else []


def budgeted(config: TrainConfig, name: str, data: Fraction, options: Options) -> TrainConfig:
    """The run by an algorithm that is as long as to draw so many examples (or episodes) a task.

    Args:
        config: the problem.
        name: of the algorithm.
        data: examples (or episodes) of every task.
        options: settings, where they are not the algorithm's own there.

    Raises:
        ConfigError: settings that do not go together.
    """
    per_iteration = data_per_task(with_algorithm(config, name).changed(options))
    iterations = max(1, round(data / per_iteration))
    # Chosen again, because schedules are made for a number of iterations.
    longer = with_algorithm(dataclasses.replace(config, iterations=iterations), name)
    return longer.changed(options)


def _ranges(config: TrainConfig) -> dict[str, tuple[float, float]]:
    """The algorithm's own sizes and rates, with the powers of ten to either side of them."""
    ranges = {"inner.step_size": (config.inner.step_size, DECADES)}
    if config.outer == "optimizer":
        ranges["optimizer.learning_rate"] = (config.optimizer.learning_rate, DECADES)
    elif config.outer == "trust-region":
        ranges["trust_region.max_kl"] = (config.trust_region.max_kl, DECADES_OF_KL)
    return ranges


def _choices(config: TrainConfig) -> dict[str, tuple[Any, ...]]:
    """Values of further options, of which there are a few."""
    shared: dict[str, tuple[Any, ...]] = {}
    if config.data == "examples":
        shared = {"inner.steps": (1, 5), "policy.activation": ("relu", "tanh")}
    return shared | config.algorithm_class.tried(config)


def _short(value: float) -> float:
    """The number with two digits, for people to read and type."""
    return float(f"{value:.2g}")
