"""Meta-training: starting a run, going on with it, and the loop."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlmaml import checkpoint
from rlmaml.build import Experiment, check_new_policy
from rlmaml.config import TrainConfig, changes
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.types import Meta, MetaBatch, Metrics, State
from runners import torch_setup
from runners.environments import build_experiment
from runners.progress import progress
from runners.run_dir import RunDir
from runners.training import plots
from runners.training.checkpoints import (
    check_data,
    fitted_meta,
    read_checkpoint,
    restore_normalizer,
    restore_state,
)
from runners.training.logging import EventWriter, peak_memory, require_tensorboard
from runners.training.signals import Stop
from runners.training.totals import Totals
from runners.training.validation import Validator


def train(
    config: TrainConfig,
    out: Path,
    *,
    init: Path | None = None,
    quiet: bool = False,
) -> RunDir:
    """Start a run in a new folder.

    Args:
        config: what to run.
        out: the folder, which must not hold anything yet.
        init: a checkpoint or run folder whose meta-parameters to start from.
        quiet: show no progress.

    Raises:
        ConfigError: bad input.
        SystemExit: stopped by a signal, after saving: 130 (SIGINT) or 143 (SIGTERM).
    """
    folder = RunDir(out)
    folder.check_free()
    config.outer_step.validate_schedule(config.iterations)
    if init is None:
        _check_start(config)
    torch_setup.configure(config)
    with _made(config) as (experiment, validator):
        state = _initial_state(experiment)
        if init is not None:
            state = _warm_started(config, experiment, state, init)
        elif config.iterations:
            check_new_policy(config, experiment)
        folder.create(config, init=init)
        _Trainer(config, folder, experiment, state, validator).run(quiet=quiet)
    return folder


def resume(folder: RunDir, config: TrainConfig, *, quiet: bool = False) -> RunDir:
    """Go on with a run from its newest checkpoint, as though it had never stopped.

    Raises:
        ConfigError: a configuration that differs in what decides the results, or nothing to go on
            from.
    """
    differing = changes(folder.read_config(), config)
    if differing:
        raise ConfigError(
            f"{folder.path} was trained with other settings ({'; '.join(differing)}): resume "
            "without changing them, or start a new run (--init takes over its parameters)."
        )
    config.outer_step.validate_schedule(config.iterations)
    torch_setup.configure(config)
    with _made(config) as (experiment, validator):
        state, done, totals = _resumed(config, experiment, folder)
        folder.write_config(config)
        _Trainer(config, folder, experiment, state, validator, done, totals).run(quiet=quiet)
    return folder


@contextlib.contextmanager
def _made(config: TrainConfig) -> Iterator[tuple[Experiment, Validator | None]]:
    """Make what a run needs, and close it at the run's end, whatever that is."""
    if config.tensorboard:
        require_tensorboard()
    with contextlib.ExitStack() as stack:
        experiment = build_experiment(config)
        stack.callback(experiment.close)
        validator = Validator(config) if config.validation_tasks else None
        if validator is not None:
            stack.callback(validator.close)
        yield experiment, validator


def _resumed(
    config: TrainConfig, experiment: Experiment, folder: RunDir
) -> tuple[State, int, Totals]:
    """The state of a run's newest checkpoint, its iterations and its totals."""
    state, done, totals = _initial_state(experiment), 0, Totals()
    if checkpoint.available(folder.checkpoints):  # none yet: begin again
        start = read_checkpoint(folder.path)
        check_data(experiment, start, folder.path)
        meta = fitted_meta(start.meta, state.meta, folder.path)
        state = restore_state(experiment, start, meta, folder.path)
        restore_normalizer(experiment, start, folder.path)
        totals, done = Totals.from_dict(start.state["totals"]), start.iteration
    elif (init := folder.read_origin().init) is not None:
        state = _warm_started(config, experiment, state, Path(init))
    if done > config.iterations:
        raise ConfigError(
            f"{folder.path} has {done} iterations already: --iterations {config.iterations} would "
            "throw some away."
        )
    return state, done, totals


def meta_batch(
    experiment: Experiment, config: TrainConfig, meta: Meta, iteration: int
) -> MetaBatch:
    """Collect what one meta-iteration learns from: its tasks, and what was sampled for them."""
    algorithm = experiment.algorithm
    rng = generator(config.seed, iteration, Phase.TASKS)
    data = algorithm.data_spec
    tasks = experiment.sample_tasks(config.tasks // data.task_copies, rng)
    return collect(
        experiment.sampler,
        algorithm.inner,
        meta,
        np.repeat(tasks, data.task_copies, axis=0),
        steps=data.steps,
        key=(config.seed, iteration, Phase.ROLLOUT),
        chunk_size=config.tasks_per_chunk,
        separate_hessian=data.separate_hessian,
    )


def _check_start(config: TrainConfig) -> None:
    """Check that the algorithm can start from scratch; a run of no iterations can."""
    first = config.algorithm_class.starts_from
    if first and config.iterations:
        command = f"rlmaml train {config.preset} --algorithm"
        raise ConfigError(
            f"{config.algorithm} starts from a run of {first}. Train one ({command} {first} "
            f"--out DIR), then start from it ({command} {config.algorithm} --init DIR)."
        )


def _initial_state(experiment: Experiment) -> State:
    algorithm = experiment.algorithm
    meta = algorithm.init_meta(experiment.params)
    try:
        return algorithm.initial_state(meta)
    except ValueError as problem:  # Muon, for one, takes matrices alone
        raise ConfigError(f"The outer step does not take these parameters: {problem}") from problem


def _warm_started(config: TrainConfig, experiment: Experiment, state: State, init: Path) -> State:
    """The state with what a run left of its parameters (`--init`)."""
    start, algorithm = read_checkpoint(init), experiment.algorithm
    before = TrainConfig().to_dict()["env"] | start.config.get("env", {})
    if before == config.to_dict()["env"]:  # or its classes could be of the tests
        check_data(experiment, start, init)
    meta = fitted_meta(algorithm.warm_start(start.meta, state.meta), state.meta, init)
    state = algorithm.initial_state(meta)
    restore_normalizer(experiment, start, init)
    return state


class _Step(NamedTuple):
    """One meta-iteration: what it learned from, and when."""

    meta: Meta  # before the update
    batch: MetaBatch
    metrics: Metrics
    env_steps: int
    sampling_seconds: float
    update_seconds: float


@dataclass
class _Trainer:
    """A run at work: what it has learned and counted, and where it writes."""

    config: TrainConfig
    folder: RunDir
    experiment: Experiment
    state: State
    validator: Validator | None
    done: int = 0
    totals: Totals = field(default_factory=Totals)

    def run(self, *, quiet: bool) -> None:
        """Train to the last iteration, or until a signal comes; save; say what was done."""
        config = self.config
        self._attempt = self.folder.attempts() + 1
        self._events = EventWriter(self.folder) if config.tensorboard else None
        if not checkpoint.available(self.folder.checkpoints):
            self._save()  # what --init brought is part of the run from the start
        began = time.perf_counter() - self.totals.seconds
        bar = progress(config.iterations, config.preset, "it", done=self.done, quiet=quiet)
        with Stop() as stop, bar:
            for iteration in range(self.done, config.iterations):
                step = self._step(iteration)
                stopping = stop.signal is not None
                seconds = time.perf_counter() - began
                self.totals = self.totals.after(step.env_steps, seconds)
                self.done = iteration + 1
                bar.update()
                due = self.done % config.checkpoint_every == 0 or self.done == config.iterations
                if stopping or self._logs(iteration, due, step.metrics):
                    line = self._line(iteration, step)
                    bar.set_postfix_str(self._summary(line, step), refresh=False)
                    self._write(line | self._measured(iteration, due, line))
                if due or stopping:
                    self._save()
                if stopping:
                    break
        if self._events is not None:
            self._events.close()
        if stop.signal is None:
            self._draw()
            self._report()
            return
        # Also after the last iteration: further seeds are not to begin.
        print(
            f"{stop.signal.name}: stopped after {self.done} of {config.iterations} iterations, "
            f"saved. Go on with: rlmaml train --resume {self.folder.path}",
            file=sys.stderr,
        )
        try:
            self._draw()
        finally:
            raise SystemExit(128 + stop.signal)

    def _step(self, iteration: int) -> _Step:
        before, began = self.state.meta, time.perf_counter()
        batch = meta_batch(self.experiment, self.config, before, iteration)
        sampled = time.perf_counter()
        self.state, metrics = self.experiment.algorithm.update(self.state, batch)
        if self.experiment.normalizer is not None:
            self.experiment.normalizer.commit()
        updated = time.perf_counter()
        env_steps = self.experiment.metric.steps(batch)
        return _Step(before, batch, metrics, env_steps, sampled - began, updated - sampled)

    def _measures_checkpoint(self, iteration: int) -> bool:
        """True if the batch was sampled with the parameters of a checkpoint."""
        return iteration > 0 and iteration % self.config.checkpoint_every == 0

    def _logs(self, iteration: int, due: bool, metrics: Metrics) -> bool:
        scheduled = (iteration + 1) % self.config.log_every == 0
        refused = metrics.get("outcome", "accepted") != "accepted"
        return scheduled or due or refused or self._measures_checkpoint(iteration)

    def _line(self, iteration: int, step: _Step) -> Metrics:
        return {
            "iteration": iteration,
            "attempt": self._attempt,
            "env_steps": self.totals.env_steps,
            "seconds": self.totals.seconds,
            **self.experiment.metric.line(step.meta, step.batch),
            **step.metrics,
            "time/sampling": step.sampling_seconds,
            "time/update": step.update_seconds,
        }

    def _summary(self, line: Metrics, step: _Step) -> str:
        name = self.experiment.metric.name
        rate = step.env_steps / (step.sampling_seconds + step.update_seconds)
        return (
            f"{name} {line[f'{name}/pre']:.3g} -> {line[f'{name}/post']:.3g}, "
            f"{rate:,.0f} env steps/s"
        )

    def _measured(self, iteration: int, due: bool, line: Metrics) -> Metrics:
        """Validation's part of the line, where it is due; the best checkpoint is remembered."""
        metric = self.experiment.metric
        name, higher = metric.name, metric.higher_is_better
        if self.validator is not None and due:
            validated = self.validator(self.state, self.experiment.normalizer)
            score = validated[f"validation/{name}/post"]
            by = f"validation on {self.config.validation_tasks} tasks"
            self.totals = self.totals.noted(score, self.done, by=by, higher_is_better=higher)
            return validated
        if self.validator is None and self._measures_checkpoint(iteration):
            score = line[f"{name}/post"]
            self.totals = self.totals.noted(
                score, iteration, by="training", higher_is_better=higher
            )
        return {}

    def _write(self, line: Metrics) -> None:
        self.folder.append_metrics(line)
        if self._events is not None:
            self._events.write(line)

    def _save(self) -> None:
        experiment = self.experiment
        state: dict[str, Any] = {
            "totals": asdict(self.totals),
            "outer": experiment.algorithm.state_dict(self.state),
            "data": experiment.fingerprint,
        }
        if experiment.normalizer is not None:
            state["normalizer"] = experiment.normalizer.state_dict()
        if experiment.predictor_spec is not None:
            state["predictor"] = experiment.predictor_spec._asdict()
        checkpoint.save(
            self.folder.checkpoints,
            self.done,
            self.state.meta,
            state,
            self.config.to_dict(),
            best=self.totals.best_iteration or None,
        )

    def _draw(self) -> None:
        if metrics := self.folder.read_metrics():
            path = self.folder.plots / "learning.png"
            plots.learning_curve(metrics, path, self.config.preset)

    def _report(self) -> None:
        totals = self.totals
        print(
            f"{self.done} iterations, {totals.env_steps / 1e6:.1f} million env steps, "
            f"{totals.seconds / 60:.1f} min, peak memory {peak_memory():.2f} GiB. "
            f"Run folder: {self.folder.path}"
        )
        if totals.best_score is not None:
            path = self.folder.checkpoints / f"{totals.best_iteration:06d}"
            score = f"{self.experiment.metric.name} by {totals.best_by}: {totals.best_score:.3g}"
            print(f"Best {score}, kept in {path}")
