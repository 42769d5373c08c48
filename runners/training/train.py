"""Meta-training: starting a run, going on with it, and the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rlmaml import checkpoint, packing, processes, tree
from rlmaml.build import Experiment, check_new_policy
from rlmaml.config import TrainConfig, changes
from rlmaml.errors import ConfigError
from rlmaml.rng import Key, Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.types import Meta, MetaBatch, State
from runners import torch_setup
from runners.command_line.terminal import say
from runners.environments import build_experiment
from runners.run_dir import RunDir
from runners.tracking.sending import tracked
from runners.tracking.trackers import check_trackers
from runners.training.checkpoints import (
    check_data,
    fitted_meta,
    not_resumable,
    read_checkpoint,
    read_totals,
    restore_normalizer,
    restore_state,
)
from runners.training.totals import Totals
from runners.training.trainer import Trainer
from runners.training.validation import Validator
from runners.workers import closed


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
        ConfigError: bad input, or another training in the folder.
        TrainingStopped: training could not go on, after saving.
        SystemExit: stopped by a signal, after saving: 129 (SIGHUP), 130 (SIGINT) or 143 (SIGTERM).
    """
    folder = RunDir(out)
    if processes.is_first():
        folder.check_free()
        check_trackers(config.track, out)
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
        with _held(folder):
            if processes.is_first():
                folder.create(config, init=init)
            _run(config, folder, experiment, validator, (state, 0, Totals()), quiet)
    return folder


def resume(folder: RunDir, config: TrainConfig, *, quiet: bool = False) -> RunDir:
    """Go on with a run from its newest checkpoint, as though it had never stopped.

    Raises:
        ConfigError: a configuration that differs in what decides the results, nothing to go on
            from, or another training in the folder.
        TrainingStopped: training could not go on, after saving.
        SystemExit: stopped by a signal, as of `train`.
    """
    differing = changes(folder.read_config(), config)
    if differing:
        raise ConfigError(
            f"{folder.path} was trained with other settings ({'; '.join(differing)}): resume "
            "without changing them, or start a new run (--init takes over its parameters)."
        )
    if processes.is_first():
        check_trackers(config.track, folder.path)
    config.outer_step.validate_schedule(config.iterations)
    torch_setup.configure(config)
    with _held(folder), _made(config) as (experiment, validator):
        start = _resumed(config, experiment, folder)
        if start[1] == config.iterations:
            say(f"{folder.path} has all its iterations: there is nothing to train.")
        processes.wait()  # until all have read
        if processes.is_first():
            folder.write_config(config)
        _run(config, folder, experiment, validator, start, quiet)
    return folder


def _run(
    config: TrainConfig,
    folder: RunDir,
    experiment: Experiment,
    validator: Validator | None,
    start: tuple[State, int, Totals],
    quiet: bool,
) -> None:
    def sample(meta: Meta, iteration: int) -> MetaBatch:
        return meta_batch(experiment, config, meta, iteration)

    def look(meta: Meta) -> MetaBatch:
        return first_look(experiment, config, meta)

    with tracked(folder, config) as track:
        Trainer(config, folder, experiment, validator, sample, look, track, *start).run(quiet=quiet)
        processes.wait()  # until all is written that somebody may read next


def _held(folder: RunDir) -> contextlib.AbstractContextManager[None]:
    """The folder's lock, which the process that writes holds for all."""
    return folder.locked() if processes.is_first() else contextlib.nullcontext()


@contextlib.contextmanager
def _made(config: TrainConfig) -> Iterator[tuple[Experiment, Validator | None]]:
    """Make what a run needs, and close it at the run's end, whatever that is."""
    with contextlib.ExitStack() as stack:
        experiment = stack.enter_context(closed(build_experiment(config)))
        validator = None
        if config.validation_tasks:
            validator = Validator(config)
            stack.enter_context(closed(validator.experiment))
        yield experiment, validator


def _resumed(
    config: TrainConfig, experiment: Experiment, folder: RunDir
) -> tuple[State, int, Totals]:
    """The state of a run's newest checkpoint, its iterations and its totals."""
    state, done, totals = _initial_state(experiment), 0, Totals()
    if checkpoint.available(folder.checkpoints):  # none yet: begin again
        start = read_checkpoint(folder.path)
        if "outer" not in start.state:
            raise ConfigError(not_resumable(str(folder.path)))
        check_data(experiment, start, folder.path)
        _check_finite(start.meta, folder.path)
        meta = fitted_meta(start.meta, state.meta, folder.path)
        state = restore_state(experiment, start, meta, folder.path)
        restore_normalizer(experiment, start, folder.path)
        totals, done = read_totals(start, folder.path), start.iteration
        before, now = start.state.get("processes", 1), processes.size()
        if before != now:
            say(
                f"{folder.path} goes on with {now} process{'es' * (now > 1)} after {before}: sums "
                "over tasks are rounded otherwise, so the rest is another run in its last bits."
            )
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
    data = experiment.algorithm.data_spec
    return _collected(
        experiment,
        config,
        meta,
        tasks=generator(config.seed, iteration, Phase.TASKS),
        key=(config.seed, iteration, Phase.ROLLOUT),
        steps=data.steps,
        separate_hessian=data.separate_hessian,
        before=data.before,
    )


def first_look(experiment: Experiment, config: TrainConfig, meta: Meta) -> MetaBatch:
    """Collect episodes of the network as it is made, of which nothing is learned but statistics."""
    tasks = generator(config.seed, 0, Phase.FIRST_TASKS)
    key = (config.seed, 0, Phase.FIRST_ROLLOUT)
    return _collected(experiment, config, meta, tasks=tasks, key=key, steps=0)


def _collected(
    experiment: Experiment,
    config: TrainConfig,
    meta: Meta,
    *,
    tasks: np.random.Generator,
    key: Key,
    steps: int,
    separate_hessian: bool = False,
    before: bool = False,
) -> MetaBatch:
    copies = experiment.algorithm.data_spec.task_copies
    drawn = np.repeat(experiment.sample_tasks(config.tasks // copies, tasks), copies, axis=0)
    return collect(
        experiment.sampler,
        experiment.algorithm.inner,
        meta,
        drawn[processes.share(len(drawn))],
        steps=steps,
        key=key,
        chunk_size=config.tasks_per_chunk,
        separate_hessian=separate_hessian,
        before=before,
    )


def _check_finite(meta: Meta, source: Path | str) -> None:
    """Check that parameters can be learned from; earlier versions saved any."""
    if not all(torch.isfinite(leaf).all() for leaf in tree.leaves(meta)):
        raise ConfigError(
            f"The parameters of {source} are not finite: nothing can be learned from them. Start "
            "from others, those of an earlier checkpoint perhaps (--init)."
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
    _check_finite(meta, "the network as it is made")
    try:
        state = algorithm.initial_state(meta)
    except ValueError as problem:  # Muon, for one, takes matrices alone
        raise ConfigError(f"The outer step does not take these parameters: {problem}") from problem
    _check_stored(experiment, state)
    return state


def _check_stored(experiment: Experiment, state: State) -> None:
    """Check that the outer step's state, perhaps of the user's own, can be kept.

    Raises:
        ConfigError: one that checkpoints cannot hold.
    """
    try:
        packing.check_state(experiment.algorithm.state_dict(state))
    except (TypeError, ConfigError) as problem:
        raise ConfigError(f"The outer step's state_dict cannot be saved. {problem}") from problem


def _warm_started(config: TrainConfig, experiment: Experiment, state: State, init: Path) -> State:
    """The state with what a run left of its parameters (`--init`)."""
    start, algorithm = read_checkpoint(init), experiment.algorithm
    _check_finite(start.meta, init)
    before = TrainConfig().to_dict()["env"] | start.config.get("env", {})
    if before == config.to_dict()["env"]:  # or its classes could be of the tests
        check_data(experiment, start, init)
    meta = fitted_meta(algorithm.warm_start(start.meta, state.meta), state.meta, init)
    state = algorithm.initial_state(meta)
    restore_normalizer(experiment, start, init)
    return state
