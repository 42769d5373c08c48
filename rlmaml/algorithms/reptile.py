"""Reptile (Nichol, Achiam and Schulman 2018, algorithm 2).

    φ_{k+1} = φ_k - α ∇L_i(φ_k, D_i^k) from φ_0 = θ,    θ ← θ + ε mean_i (φ_K - θ)

Every inner step has a minibatch D^k of its own; there is no outer loss and no derivative through
the adaptation. θ - φ_K is the gradient of ½‖θ - φ_K‖² with φ_K held fixed, so any optimizer makes
the outer step; with SGD its learning rate is ε. For K = 1 this is α ∇L: training on all tasks
jointly. From K = 2 on there is in it what FO-MAML has: the second step is α times FO-MAML's
gradient with D^1 as its outer data.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from rlmaml import tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import AlgorithmSettings, DataSpec, Overrides, RunConfig
from rlmaml.inner import adapt
from rlmaml.types import Data, InnerLoop, Iterates, Meta, MetaBatch


class Reptile(Algorithm):
    """Move θ towards what tasks adapt it to. Arguments as of `Algorithm`."""

    requires: ClassVar[Requires] = {
        "gradient-only": (
            "its update is no gradient of an outer loss, so no line search can judge it."
        ),
        "support-hessian": "it differentiates no inner step.",
    }

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        overrides = super().default_overrides(config, settings)
        if config.data == "examples":  # ε falls to 0 in a straight line, as published
            overrides |= {
                "inner.steps": max(config.inner.steps, 5),
                "optimizer.name": "SGD",
                "optimizer.learning_rate": 1.0,
                "optimizer.schedule": "LinearLR",
                "optimizer.schedule_kwargs": {
                    "start_factor": 1.0,
                    "end_factor": 0.0,
                    "total_iters": config.iterations,
                },
            }
        return overrides

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        return {"inner.steps": (5, 10)} if config.data == "examples" else {}

    @property
    def data_spec(self) -> DataSpec:
        return super().data_spec._replace(fresh_support=True)

    @staticmethod
    def adjoint(
        inner: InnerLoop, meta: Meta, support: tuple[Data, ...], hessian: tuple = ()
    ) -> Iterates:
        """φ_0 as a function of θ, and φ_1 .. φ_K as constants."""
        fixed = adapt(inner, tree.map(lambda leaf: leaf.detach(), meta), support)
        return (inner.start(meta), *fixed[1:])

    def outer_loss(self, iterates: Iterates, data: MetaBatch) -> Tensor:
        """½‖θ - φ_K‖², whose gradient is the direction of the update."""
        start, end = (tree.ravel(params)[0] for params in (iterates[0], iterates[-1]))
        return (start - end).square().sum() / 2
