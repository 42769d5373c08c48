"""Baselines to compare a meta-trained run with, each a run folder of its own.

random      the same network, untrained, adapted by the same inner loop
pretrained  one policy (or predictor) for all tasks, trained without adaptation on as many
            episodes, then adapted by the same inner loop
oracle      the same, but it is shown the task; it does not adapt
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from rlmaml import algorithms, checkpoint, processes
from rlmaml.build import data_per_task
from rlmaml.config import DEFAULT_ALGORITHM, TrainConfig, changes
from rlmaml.errors import ConfigError
from runners.command_line.terminal import say
from runners.environments import build_experiment
from runners.errors import TrainingStopped
from runners.presets import PRESETS
from runners.run_dir import RunDir
from runners.training import train

Baseline = Literal["random", "pretrained", "oracle"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)


class PlannedRun(NamedTuple):
    """A run that is there, or is to be trained."""

    folder: RunDir
    config: TrainConfig
    exists: bool

    @property
    def finished(self) -> bool:
        done = checkpoint.available(self.folder.checkpoints)
        return self.exists and bool(done) and done[-1] >= self.config.iterations


def plan(folder: RunDir, name: Baseline, *, device: str | None = None) -> PlannedRun:
    """Plan a run's baseline in its folder's `baselines/NAME`, found possible before time is spent.

    Args:
        folder: the run.
        name: of the baseline.
        device: to train on; the run's own if None. One begun elsewhere goes on where it began.

    Raises:
        ConfigError: one that was trained with other settings, or that this family cannot have.
    """
    config = baseline_config(folder.read_config(), name)
    return prepared(RunDir(folder.path / "baselines" / name), config, device=device)


def prepared(folder: RunDir, config: TrainConfig, *, device: str | None = None) -> PlannedRun:
    """Plan a run, or find it there already, and find it possible before time is spent.

    Args:
        folder: where it is, or is to be.
        config: its settings.
        device: to train on; the configuration's own if None. One begun elsewhere goes on where it
            began.

    Raises:
        ConfigError: a run there that was trained with other settings, or impossible settings.
    """
    exists = not folder.is_free()
    if exists:
        stored = folder.read_config()
        config = dataclasses.replace(
            config, device=stored.device, sampling_device=stored.sampling_device
        )
        differing = changes(stored, config)
        if differing:
            raise ConfigError(
                f"{folder.path} was trained with other settings ({'; '.join(differing)}): move it "
                "away to have it trained anew."
            )
    elif device is not None:
        config = dataclasses.replace(config, device=device, sampling_device="cpu")
    planned = PlannedRun(folder, config, exists)
    if not planned.finished:
        build_experiment(config, tasks=processes.size()).close()
    return planned


def trained(planned: PlannedRun, *, init: Path | None = None, quiet: bool = False) -> RunDir:
    """Train the run now, go on with it if it was interrupted, or leave it if it is finished.

    Args:
        planned: the run.
        quiet: show no progress.
        init: what a new one starts from, as of `train.train`.

    Raises:
        TrainingStopped: it could not go on to its end.
        SystemExit: stopped by a signal, after saving.
    """
    if planned.finished:
        return planned.folder
    try:
        if planned.exists:
            return train.resume(planned.folder, planned.config, quiet=quiet)
        return train.train(planned.config, planned.folder.path, init=init, quiet=quiet)
    except TrainingStopped as problem:
        # Of several processes it may be one alone that stopped, and the others wait for it.
        if processes.size() > 1 or not planned._replace(exists=True).finished:
            raise
        say(str(problem))  # it learned nothing, which its scores are to show
        return planned.folder


def baseline_config(config: TrainConfig, name: Baseline) -> TrainConfig:
    """Settings of a run's baseline: the run's own but for what makes the baseline.

    `pretrained` and `oracle` have as many episodes (or examples) as the run, whose meta-iterations
    need some for their inner steps: so many more iterations, or, where the learning rate has a
    schedule, which is made for a number of them, so many more tasks an iteration. They adapt by
    gradient steps, whatever the run's algorithm; where it is another than the default, these and
    the outer steps are of the sizes that the preset has.
    """
    if name == "random":
        return dataclasses.replace(config, iterations=0, track=())
    own = config
    if config.algorithm != DEFAULT_ALGORITHM and config.preset in PRESETS:
        own = PRESETS[config.preset][1]  # the algorithm's steps are of other sizes
    query = config.episodes if config.data == "episodes" else config.examples.queries
    cost = Fraction(data_per_task(config), query)
    more = {"iterations": math.ceil(config.iterations * cost)}
    if own.outer == "optimizer" and own.optimizer.schedule is not None:
        more = {"tasks": math.ceil(config.tasks * cost)}
    # With no inner step most algorithms have nothing to learn from.
    plain = algorithms.get_algorithm(DEFAULT_ALGORITHM)
    return dataclasses.replace(
        config,
        algorithm=DEFAULT_ALGORITHM,
        algorithm_settings=plain.Settings(),
        **more,
        inner=dataclasses.replace(own.inner, steps=0, hessian="support"),
        outer=own.outer,
        outer_settings=own.outer_settings,
        optimizer=own.optimizer,
        trust_region=own.trust_region,
        env=dataclasses.replace(config.env, observe_task=name == "oracle"),
        track=(),
    )


def check_names(names: tuple[str, ...]) -> tuple[Baseline, ...]:
    """Return baselines by name, each once, in the order of `BASELINES`.

    Raises:
        ConfigError: an unknown name.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ConfigError(
            f"--against takes {', '.join(BASELINES)}; got {', '.join(unknown)}. Another run folder "
            "is compared by naming it: rlmaml evaluate A B."
        )
    return tuple(name for name in BASELINES if name in names)


def check_step_sizes(sizes: tuple[float, ...], against: tuple[Baseline, ...]) -> None:
    """Check sizes of inner steps that `pretrained` is to try.

    Raises:
        ConfigError: sizes that are no positive numbers, or no such baseline to try them.
    """
    if sizes and "pretrained" not in against:
        raise ConfigError("--pretrained-step-sizes goes with --against pretrained: add it.")
    bad = [f"{size:g}" for size in sizes if not 0 < size < math.inf]
    if bad:
        raise ConfigError(
            f"--pretrained-step-sizes must be above 0 and finite; got {', '.join(bad)}."
        )
