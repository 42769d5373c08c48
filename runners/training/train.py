"""Meta-training: the loop, its metrics, its checkpoints, and stopping without loss."""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.types import Meta, MetaBatch, State
from runners.build import Experiment, build
from runners.config import TrainConfig, changes
from runners.progress import progress
from runners.run_dir import RunDir
from runners.training.checkpoints import (
    check_data,
    matching,
    read_checkpoint,
    restore_normalizer,
    restore_state,
    warm_started,
)


def train(
    config: TrainConfig, out: Path, *, init: Path | None = None, quiet: bool = False
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
    _validate_schedule(config)
    if init is None:
        _check_start(config)
    experiment = build(config)
    state = _begin(experiment)
    if init is not None:
        state = _started(config, experiment, state, init)
    validator = Validator(config) if config.validation_tasks else None
    folder.create(config, init=init)
    _run(config, folder, experiment, state, validator, done=0, totals=Totals(), quiet=quiet)
    return folder


def resume(folder: RunDir, config: TrainConfig, *, quiet: bool = False) -> RunDir:
    """Go on with a run from its newest checkpoint, as though it had never stopped.

    Raises:
        ConfigError: the configuration differs in what decides the results, or there is nothing
            to go on from.
    """
    differing = changes(folder.read_config(), config)
    if differing:
        raise ConfigError(
            f"{folder.path} was trained with other settings ({'; '.join(differing)}): resume "
            "without changing them, or start a new run (--init takes over its parameters)."
        )
    _validate_schedule(config)
    experiment = build(config)
    state = _begin(experiment)
    done, totals = 0, Totals()
    if checkpoint.available(folder.checkpoints):  # none yet: begin again
        start = read_checkpoint(folder.path)
        check_data(experiment, start, folder.path)
        meta = matching(start.meta, state.meta, folder.path)
        state = restore_state(experiment, start, meta, folder.path)
        restore_normalizer(experiment, start, folder.path)
        kept = start.state["totals"]
        totals = Totals(**{name: kept[name] for name in vars(totals) if name in kept})
        done = start.iteration
    elif (init := folder.read_origin()["init"]) is not None:
        state = _started(config, experiment, state, Path(init))
    if done > config.iterations:
        raise ConfigError(
            f"{folder.path} has {done} iterations already: --iterations {config.iterations} would "
            "throw some away."
        )
    validator = Validator(config) if config.validation_tasks else None
    folder.write_config(config)
    _run(config, folder, experiment, state, validator, done=done, totals=totals, quiet=quiet)
    return folder


def _validate_schedule(config: TrainConfig) -> None:
    """Find out now, and not after hours, that a schedule ends before the run does."""
    try:
        config.outer_step.validate_schedule(config.iterations)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem


def _check_start(config: TrainConfig) -> None:
    """Whether the method can start from scratch; a run of no iterations can."""
    first = config.algorithm_class.starts_from
    if first and config.iterations:
        command = f"rlmaml train {config.preset} --algorithm"
        raise ConfigError(
            f"{config.algorithm} starts from a run of {first}. Train one ({command} {first} "
            f"--out DIR), then start from it ({command} {config.algorithm} --init DIR)."
        )


def _begin(experiment: Experiment) -> State:
    method = experiment.algorithm
    try:
        meta = method.init_meta(experiment.params)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    try:
        return method.restore(meta)
    except ValueError as problem:  # Muon, for one, takes matrices alone
        raise ConfigError(f"The outer step does not take these parameters: {problem}") from problem


def _started(config: TrainConfig, experiment: Experiment, state: State, init: Path) -> State:
    """The state with what a run left of its parameters (`--init`)."""
    start, method = read_checkpoint(init), experiment.algorithm
    if start.config.get("env") == config.to_dict()["env"]:  # or its classes could be of the tests
        check_data(experiment, start, init)
    state = method.restore(warm_started(method, start.meta, state.meta, init))
    restore_normalizer(experiment, start, init)
    return state


class Totals:
    """What a run counts up, kept in its checkpoints."""

    def __init__(
        self,
        env_steps: int = 0,
        seconds: float = 0.0,
        best_score: float | None = None,
        best_iteration: int = 0,
        best_by: str = "",
    ) -> None:
        self.env_steps, self.seconds = env_steps, seconds
        self.best_score, self.best_iteration = best_score, best_iteration
        self.best_by = best_by

    def note(self, score: float, iteration: int, *, by: str, higher_is_better: bool) -> None:
        """Remember the score of a checkpoint, if it is the best so far.

        Only scores that were come by in the same way (`by`) are compared.
        """
        if not math.isfinite(score):
            return
        sign = 1 if higher_is_better else -1
        if self.best_by != by or self.best_score is None or sign * score > sign * self.best_score:
            self.best_score, self.best_iteration, self.best_by = score, iteration, by


def _run(
    config: TrainConfig,
    folder: RunDir,
    experiment: Experiment,
    state: State,
    validator: Validator | None,
    *,
    done: int,
    totals: Totals,
    quiet: bool,
) -> None:
    algorithm, measure = experiment.algorithm, experiment.measure
    normalizer = experiment.normalizer
    attempt = folder.attempts() + 1
    board = _tensorboard(folder) if config.tensorboard else None
    by = "training" if validator is None else f"validation on {config.validation_tasks} tasks"
    best = {"by": by, "higher_is_better": measure.higher_is_better}

    def save(iteration: int) -> None:
        kept: dict[str, Any] = {"totals": vars(totals), "outer": algorithm.saved(state)}
        kept["data"] = experiment.fingerprint
        if normalizer is not None:
            kept["normalizer"] = normalizer.state_dict()
        checkpoint.save(
            folder.checkpoints,
            iteration,
            state.meta,
            kept,
            config.to_dict(),
            keep_also=(totals.best_iteration,),
        )

    if not checkpoint.available(folder.checkpoints):
        save(done)  # what --init brought is part of the run from the start
    began = time.perf_counter() - totals.seconds
    with (
        Stop() as stop,
        progress(config.iterations, config.preset, "it", done=done, quiet=quiet) as bar,
    ):
        for iteration in range(done, config.iterations):
            clock = time.perf_counter()
            batch = meta_batch(experiment, config, state.meta, iteration)
            sampled = time.perf_counter()
            before = state.meta
            state, metrics = algorithm.update(state, batch)
            if normalizer is not None:
                normalizer.commit()
            updated = time.perf_counter()
            stopping = stop.signal
            steps = measure.steps(batch)
            totals.env_steps += steps
            totals.seconds = updated - began
            done = iteration + 1
            due = done % config.checkpoint_every == 0 or done == config.iterations
            # The batch measured the parameters that this iteration began with.
            measures_checkpoint = iteration > 0 and iteration % config.checkpoint_every == 0
            bar.update()
            refused = metrics.get("outcome", "accepted") != "accepted"
            scheduled = done % config.log_every == 0
            if scheduled or due or stopping or measures_checkpoint or refused:
                line = {
                    "iteration": iteration,
                    "attempt": attempt,
                    "env_steps": totals.env_steps,
                    "seconds": totals.seconds,
                    **measure.line(before, batch),
                    **metrics,
                    "time/sampling": sampled - clock,
                    "time/update": updated - sampled,
                }
                name = measure.metric
                bar.set_postfix_str(
                    f"{name} {line[f'{name}/pre']:.3g} -> {line[f'{name}/post']:.3g}, "
                    f"{steps / (updated - clock):,.0f} env steps/s",
                    refresh=False,
                )
                if validator is not None and due:
                    line |= validator(state, normalizer)
                    totals.note(line[f"validation/{name}/post"], done, **best)
                elif validator is None and measures_checkpoint:
                    totals.note(line[f"{name}/post"], iteration, **best)
                folder.append_metrics(line)
                if board is not None:
                    board(line)
            if due or stopping:
                save(done)
            if stopping:
                break
    experiment.close()
    if validator is not None:
        validator.close()
    if stop.signal:  # also after the last iteration: further seeds are not to begin
        print(
            f"{stop.signal.name}: stopped after {done} of {config.iterations} iterations, saved. "
            f"Go on with: rlmaml train --resume {folder.path}",
            file=sys.stderr,
        )
        raise SystemExit(128 + stop.signal)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform != "darwin" else 1024**3
    )
    print(
        f"{done} iterations, {totals.env_steps / 1e6:.1f} million env steps, "
        f"{totals.seconds / 60:.1f} min, peak memory {peak:.2f} GiB. Run folder: {folder.path}"
    )
    if totals.best_score is not None:
        place = folder.checkpoints / f"{totals.best_iteration:06d}"
        score = f"{measure.metric} by {totals.best_by}: {totals.best_score:.3g}"
        print(f"Best {score}, kept in {place}")


def meta_batch(
    experiment: Experiment, config: TrainConfig, meta: Meta, iteration: int
) -> MetaBatch:
    """What one meta-iteration learns from: its tasks, and what was sampled for them."""
    algorithm = experiment.algorithm
    rng = generator(config.seed, iteration, Phase.TASKS)
    plan = algorithm.data_spec
    tasks = experiment.sample_tasks(config.tasks // plan.task_copies, rng)
    return collect(
        experiment.sampler,
        algorithm.inner,
        meta,
        np.repeat(tasks, plan.task_copies, axis=0),
        steps=plan.steps,
        key=(config.seed, iteration, Phase.ROLLOUT),
        chunk_size=config.stacked,
        separate_hessian=plan.separate_hessian,
    )


class Validator:
    """Measures parameters on tasks of the validation split: always the same tasks and draws.

    Raises:
        ConfigError: the family has none.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._experiment = build(config, tasks=config.validation_tasks)
        rng = generator(config.seed, 0, Phase.VALIDATION_TASKS)
        try:
            self._tasks = self._experiment.sample_tasks(
                config.validation_tasks, rng, split="validation"
            )
        except ValueError as problem:
            raise ConfigError(
                f"There are no validation tasks ({problem}): pass --validation-tasks 0."
            ) from problem

    def __call__(self, state: State, normalizer: Normalizer | None) -> dict[str, float]:
        """Means over tasks, as `validation/NAME/pre` and so on."""
        experiment, config = self._experiment, self._config
        if experiment.normalizer is not None and normalizer is not None:
            experiment.normalizer.load_state_dict(normalizer.state_dict())
        batch = collect(
            experiment.sampler,
            experiment.algorithm.inner,
            state.meta,
            self._tasks,
            steps=config.inner.steps,
            key=(config.seed, 0, Phase.VALIDATION_ROLLOUT),
            chunk_size=experiment.algorithm.chunk_size,
        )
        line = experiment.measure.line(state.meta, batch)
        return {f"validation/{name}": value for name, value in line.items()}

    def close(self) -> None:
        self._experiment.close()


def _tensorboard(folder: RunDir) -> Callable[[dict[str, Any]], None]:
    try:
        from stable_baselines3.common.logger import TensorBoardOutputFormat

        writer = TensorBoardOutputFormat(str(folder.tensorboard))
    except (ImportError, AssertionError) as problem:
        raise ConfigError(
            "--tensorboard needs TensorBoard: pip install 'rlmaml[tensorboard]'."
        ) from problem

    def write(line: dict[str, Any]) -> None:
        scalars = {name: value for name, value in line.items() if isinstance(value, (int, float))}
        writer.write(scalars, {name: () for name in scalars}, step=line["iteration"])

    return write


class Stop:
    """While active, SIGINT and SIGTERM are noted, so that the iteration can end and be saved.

    A second one of the same kind acts at once, as it would have without us.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Stop:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, self._old[number])
        os.write(2, b"\nStopping after this iteration...\n")  # print is not for signal handlers
