"""How much data a run learns from."""

from __future__ import annotations

from typing import Any

from rlmaml import losses
from rlmaml.algorithms.base import DataSpec
from runners.config import TrainConfig


def plan(config: TrainConfig) -> DataSpec:
    """What the run's method collects for a meta-update."""
    given: dict[str, Any] = {}
    if config.data == "examples":
        given = {"inner_loss": losses.mse, "outer_loss": losses.mse}  # any will do
    unused: Any = None  # the network has no part in it
    method = config.algorithm_class(
        unused, config.inner, config.outer_step, config.algorithm_settings, **given
    )
    return method.data_spec


def data_per_task(config: TrainConfig) -> int:
    """Examples (per class, of a classification) or episodes of one task in a meta-iteration."""
    its = plan(config)
    if config.data == "episodes":
        return config.episodes * (its.steps * (1 + its.separate_hessian) + 1)
    sets = its.steps if its.fresh_support else min(its.steps, 1)
    return config.examples.shots * (sets + its.separate_hessian) + config.examples.queries
