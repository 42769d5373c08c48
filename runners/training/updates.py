"""What an update gives back, which may be of the user's own: parameters and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rlmaml import checkpoint, processes, tree
from rlmaml.build import Experiment
from rlmaml.returns import masked_mean
from rlmaml.types import Meta, MetaBatch, State
from runners.errors import TrainingStopped


def check_alike(before: Meta, after: Meta, iteration: int) -> None:
    """Check that an outer step, perhaps of the user's own, gave back what it was given.

    Raises:
        TrainingStopped: parameters of other names, shapes or types.
    """
    try:
        checkpoint.fitted(after, before)
    except (ValueError, AttributeError, TypeError) as problem:
        raise TrainingStopped(
            f"Iteration {iteration} led to other parameters than it began with: they {problem}. "
            "Look at the update of the outer step or the algorithm."
        ) from problem


def alike(state: State) -> State:
    """The state with the first process's meta-parameters.

    Those of the others are the same, but on machines that are not alike, which round otherwise.
    """
    if processes.size() == 1:
        return state
    theta, unravel = tree.ravel(state.meta)
    return state._replace(meta=unravel(processes.of_first(theta)))


def plain(value: Any) -> Any:
    """A metric as JSON has it: of an array its numbers, of other objects their text."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else str(value)


@torch.no_grad()
def commit_statistics(experiment: Experiment, meta: Meta, batch: MetaBatch) -> float:
    """Fold in what was seen of observations; return how far that alone moves the policy.

    Args:
        experiment: its observations are standardized.
        meta: of the policy.
        batch: what was seen; the first query episode of every task is measured on.

    Returns:
        KL of the policy before from itself after, a mean over tasks.
    """
    normalizer, algorithm = experiment.normalizer, experiment.algorithm
    assert normalizer is not None
    seen, mask = batch.query.inputs[:, 0], batch.query.mask[:, 0]
    raw = normalizer.undo(seen.cpu().double())
    normalizer.commit()
    params = algorithm.inner.start(meta)
    before: Any = algorithm.policy(params, seen)
    after = algorithm.policy(params, normalizer(raw).to(seen.device))
    moved = [masked_mean(*each) for each in zip(before.kl(after), mask, strict=True)]
    return float(processes.mean(torch.stack(moved)))


def not_finite(tensors: Any) -> list[str]:
    """Names of tensors that are not finite, however nested."""
    named = dict(_named(tensors))
    kinds: dict[Any, list[torch.Tensor]] = {}
    for value in named.values():
        kinds.setdefault((value.dtype, value.device), []).append(value.reshape(-1))
    if all(torch.isfinite(torch.cat(each)).all() for each in kinds.values()):  # one by one is slow
        return []
    return [name for name, value in named.items() if not torch.isfinite(value).all()]


def _named(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided:
            yield name, value
    elif isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _named(part, f"{name}/{key}" if name else str(key))
