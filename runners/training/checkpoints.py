"""Loading of an experiment's parameters, state and statistics from a checkpoint on disk."""

from __future__ import annotations

from pathlib import Path

import rlmaml
from rlmaml import Learner, checkpoint
from rlmaml.build import Experiment
from rlmaml.checkpoint import Checkpoint
from rlmaml.errors import ConfigError
from rlmaml.types import Meta, State
from runners.run_dir import RunDir
from runners.training.totals import Totals


def read_checkpoint(path: Path, which: Path | None = None) -> Checkpoint:
    """Read a run's checkpoint; the arguments are those of `rlmaml.checkpoint.locate`.

    Raises:
        CheckpointError: a checkpoint that is missing, cut or altered.
    """
    return checkpoint.load(checkpoint.locate(path, which))


def processes_before(folder: RunDir) -> int | None:
    """The number of processes that a run was at last divided among; None if it has no checkpoint.

    Raises:
        CheckpointError: none of its checkpoints is whole.
    """
    if not checkpoint.available(folder.checkpoints):
        return None
    return read_checkpoint(folder.path).state.get("processes", 1)


def load_learner(folder: RunDir, which: Path | None = None) -> Learner:
    """`rlmaml.load` of a run that adapts.

    Raises:
        CheckpointError: a checkpoint that is missing, cut or altered.
        ConfigError: the run of an oracle.
    """
    if folder.read_config().env.observe_task:
        raise ConfigError("The run's policy is shown its task and does not adapt to it.")
    return rlmaml.load(folder.path, checkpoint=which)


def not_resumable(run: str) -> str:
    """Say why training does not go on with a run that was shared, and what to do."""
    return (
        f"{run} was shared without the state of its outer step, so that its training does not go "
        f"on: start a new run from its parameters, rlmaml train PRESET --init {run} --out DIR."
    )


def fitted_meta(loaded: Meta, built: Meta, path: Path) -> Meta:
    """Loaded meta-parameters on the device of the built ones, if their shapes agree.

    Raises:
        ConfigError: shapes that do not agree.
    """
    try:
        return checkpoint.fitted(loaded, built)
    except ValueError as problem:
        raise ConfigError(
            f"The parameters in {path} {problem}: use the same network settings and environment "
            "spaces, and an algorithm that learns the same."
        ) from problem


def check_data(experiment: Experiment, start: Checkpoint, path: Path) -> None:
    """Check that the data are those that the run was trained on.

    Raises:
        ConfigError: other data, so that what was held out may not be what is held out now.
    """
    stored = start.state.get("data")
    if stored is not None and stored != experiment.fingerprint:
        raise ConfigError(
            f"The classes, or their images or texts, are not those that {path} was trained with: "
            "its test classes may be others now. Put the data back as they were (docstrings are "
            "those of one version of Python), or start a new run."
        )


def read_totals(start: Checkpoint, path: Path) -> Totals:
    """The totals of the run whose checkpoint it is.

    Raises:
        ConfigError: a checkpoint without them, or with values of other types.
    """
    stored = start.state.get("totals")
    try:
        if not isinstance(stored, dict) or not isinstance(stored.get("refusals", {}), dict):
            raise ConfigError(f"totals are {stored!r}.")
        return Totals.from_dict(stored)
    except ConfigError as problem:
        raise ConfigError(f"{path} has no checkpoint of a training: its {problem}") from problem


def restore_state(experiment: Experiment, start: Checkpoint, meta: Meta, path: Path) -> State:
    """Meta-parameters with the outer step's state of a checkpoint.

    Raises:
        ConfigError: the state of another outer step.
    """
    try:
        return experiment.algorithm.load_state_dict(meta, start.state["outer"])
    except _OF_STATES as problem:
        raise ConfigError(
            f"The state of the outer step in {path} does not fit this configuration's: {problem}"
        ) from problem


def restore_normalizer(experiment: Experiment, start: Checkpoint, path: Path) -> None:
    """Take over the observation statistics of a checkpoint.

    Raises:
        ConfigError: statistics that only one of the two has.
    """
    normalizer, stored = experiment.normalizer, start.state.get("normalizer")
    if (normalizer is None) != (stored is None):
        raise ConfigError(
            f"The policy in {path} was trained {'with' if stored else 'without'} observation "
            f"statistics: pass --normalize-observations {stored is not None}."
        )
    if normalizer is not None and stored is not None:
        try:
            normalizer.load_state_dict(stored)
        except _OF_STATES as problem:
            raise ConfigError(
                f"The observation statistics in {path} are none of this environment's: {problem}"
            ) from problem


_OF_STATES = (KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError)
"""Errors that a state raises which is another's, or none."""
