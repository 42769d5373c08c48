"""The trust-region outer step (Schulman et al. 2015, appendix C), through the adaptation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.linalg import solve
from rlmaml.objective import (
    Objective,
    evaluate,
    fisher_product,
    gradient_and_reference,
    mean_over_tasks,
    over_tasks,
)
from rlmaml.outer.base import OuterCapability
from rlmaml.profiling import timer
from rlmaml.returns import masked_mean
from rlmaml.types import Data, Meta, MetaBatch, Metrics, State


@dataclass(frozen=True)
class TrustRegion:
    """Settings of the trust-region outer step."""

    capabilities: ClassVar[frozenset[OuterCapability]] = frozenset()

    max_kl: float = 0.01
    """Bound on the mean KL(old ‖ new) of adapted policies, in nats per time step or example."""
    cg_iterations: int = 10
    """Conjugate-gradient iterations, each one curvature product."""
    damping: float = 1e-5
    """Multiple of the identity added to the curvature."""
    backtracks: int = 15
    """Most candidate steps of the line search."""
    backtrack_ratio: float = 0.8
    """Each candidate is this times as long as the one before."""
    fisher_fraction: float = 1.0
    """Share of the episodes or examples that curvature products use; the step's length is then
    measured on all."""

    def __post_init__(self) -> None:
        for name, ok, want in (
            ("max_kl", self.max_kl > 0, "positive"),
            ("cg_iterations", self.cg_iterations >= 1, "at least 1"),
            ("damping", self.damping >= 0, "zero or positive"),
            ("backtracks", self.backtracks >= 1, "at least 1"),
            ("backtrack_ratio", 0 < self.backtrack_ratio < 1, "between 0 and 1"),
            ("fisher_fraction", 0 < self.fisher_fraction <= 1, "in (0, 1]"),
        ):
            if not ok:
                raise ConfigError(f"trust_region.{name} must be {want}, got {getattr(self, name)}.")

    def init(self, meta: Meta) -> None:
        """Nothing: a trust region carries nothing from one update to the next."""

    def state_dict(self, state: None) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, meta: Meta, saved: Mapping[str, Any]) -> None:
        """Nothing."""

    def validate_schedule(self, iterations: int) -> None:
        """Nothing is scheduled."""

    def update(
        self, objective: Objective, state: State[None], batch: MetaBatch
    ) -> tuple[State[None], Metrics]:
        """`rlmaml.outer.trust_region.update` with these settings."""
        meta, metrics = update(objective, state.meta, batch, self)
        return state._replace(meta=meta), metrics


def _mean_entropy(policy: Any, query: Data) -> torch.Tensor:
    return masked_mean(policy.entropy(), query.mask)


AIM, FAR = 0.9, 0.5
"""Of curvature on part of the data: the share of the trust region at which its step aims, so that
what it leaves out rarely costs a candidate; and the least share that need not be corrected."""


def update(
    objective: Objective, meta: Meta, batch: MetaBatch, config: TrustRegion
) -> tuple[Meta, Metrics]:
    """Minimize the outer loss within the trust region around the collecting parameters.

    x = H⁻¹g by conjugate gradient, the longest step along -x that keeps ½ sᵀHs ≤ max_kl, then
    backtracking until the loss has fallen and the measured KL(old ‖ new) is within the bound.
    With curvature on part of the data the first candidate's length is corrected once, by its KL
    on all of them, should that be out of the bound or less than half of it.

    Returns:
        The new meta-parameters, and metrics. Where no step can be taken (gradient zero or not
        finite, x·Hx ≤ 0, no acceptable candidate), `meta` itself, and `outcome` says why.
    """
    theta, unravel = tree.ravel(meta)
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    before = mean_over_tasks(losses)
    entropies = over_tasks(_mean_entropy)(ref.policy, batch.query)
    metrics: Metrics = {
        "outcome": "accepted",
        "surrogate": -before.item(),
        "surrogate/gain": 0.0,
        "entropy": mean_over_tasks(entropies).item(),
        "kl": 0.0,
        "kl/per_task": [0.0] * len(losses),
        "gradient_norm": gradient.norm().item(),
        "cg_iterations": 0,
        "line_search_steps": 0,
    }

    def refuse(reason: str) -> tuple[Meta, Metrics]:
        return meta, {**metrics, "outcome": reason}

    if not torch.isfinite(gradient).all():
        return refuse("gradient not finite")
    if not gradient.any():
        return refuse("gradient zero")

    with timer("curvature"):
        curvature = fisher_product(objective, meta, batch, ref, fraction=config.fisher_fraction)

        def damped(v: torch.Tensor) -> torch.Tensor:
            return curvature(v) + config.damping * v

        x, residual, spent = solve(damped, gradient, iterations=config.cg_iterations)
    metrics["cg_iterations"] = spent
    # x·Hx without another product. Rounding leaves the residual not quite orthogonal to x, so that
    # x·g alone would be off by a hundredth where H is nearly singular.
    quadratic = x @ (gradient - residual)
    if not (torch.isfinite(quadratic) and quadratic > 0):
        return refuse("curvature not positive")
    step = -x * (2 * config.max_kl / quadratic).sqrt()

    def judge(step: torch.Tensor) -> tuple[tuple[Meta, Metrics] | None, torch.Tensor]:
        """What a step leads to, if it is acceptable, and its KL as a share of the bound."""
        candidate = unravel(theta + step)
        losses, kls = evaluate(objective, candidate, batch, ref)
        after, kl = mean_over_tasks(losses), mean_over_tasks(kls)
        share = kl / config.max_kl
        # A NaN fails both comparisons, so it is backed away from like any bad candidate.
        if not (after < before and kl <= config.max_kl):
            return None, share
        found = {
            "surrogate": -after.item(),
            "surrogate/gain": (before - after).item(),
            "kl": kl.item(),
            "kl/per_task": kls.tolist(),
        }
        return (candidate, found), share

    found, metrics["line_search_steps"] = _line_search(judge, step, config)
    if found is None:
        return refuse("no acceptable step")
    return found[0], metrics | found[1]


def _line_search(
    judge: Callable[[torch.Tensor], tuple[Any, torch.Tensor]],
    step: torch.Tensor,
    config: TrustRegion,
) -> tuple[Any, int]:
    """The first acceptable candidate along a step, None if there is none, and how many were tried.

    With curvature on part of the data the first may be too long or needlessly short: then the next
    has the length that its KL suggests.
    """
    estimated, short = config.fisher_fraction < 1, None
    if estimated:
        step = step * AIM**0.5
    for tried in range(1, config.backtracks + 1):
        found, share = judge(step)
        if estimated and tried == 1 and (0 < share < FAR or 1 < share < torch.inf):
            short, step = found, step * (AIM / share).sqrt()
        elif found is not None:
            return found, tried
        else:
            step = step * config.backtrack_ratio
    return short, config.backtracks  # short, if nothing longer will do
