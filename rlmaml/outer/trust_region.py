"""The trust-region outer step (Schulman et al. 2015, appendix C), through the adaptation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rlmaml import processes, tree
from rlmaml.distributions import Distribution
from rlmaml.errors import ConfigError
from rlmaml.linalg import solve
from rlmaml.objective import (
    Objective,
    Reference,
    evaluate,
    fisher_product,
    gradient_and_reference,
    over_tasks,
)
from rlmaml.outer.base import OuterCapability
from rlmaml.profiling import timer
from rlmaml.returns import masked_mean
from rlmaml.types import Data, Meta, MetaBatch, Metrics, State, StateDict
from rlmaml.values import check_values


@dataclass(frozen=True)
class TrustRegion:
    """Settings of the trust-region outer step."""

    capabilities: ClassVar[frozenset[OuterCapability]] = frozenset()
    limits: ClassVar[dict[str, float]] = {
        "max_kl": 1e6,
        "cg_iterations": 100_000,
        "damping": 1e9,
        "backtracks": 10_000,
    }

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
    """Share of the data that curvature products use: of the episodes of inner steps, and of the
    time steps or examples after them; the step's length is then measured on all."""

    def __post_init__(self) -> None:
        check_values(self, "trust_region.")
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

    def state_dict(self, state: None) -> StateDict:
        """Nothing."""
        return {}

    def load_state_dict(self, meta: Meta, saved: StateDict) -> None:
        """Nothing."""

    def validate_schedule(self, iterations: int) -> None:
        """Nothing is scheduled."""

    def update(
        self, objective: Objective, state: State[None], batch: MetaBatch
    ) -> tuple[State[None], Metrics]:
        """`rlmaml.outer.trust_region.update` with these settings."""
        meta, metrics = update(objective, state.meta, batch, self)
        return state._replace(meta=meta), metrics


AIM, FAR = 0.9, 0.5
"""Shares of the trust region, for curvature on part of the data: the one at which its step aims, so
that what it leaves out rarely costs a candidate; and the least share that need not be corrected."""


class _Candidate(NamedTuple):
    """An acceptable end of the line search."""

    meta: Meta
    metrics: Metrics


Judge = Callable[[Tensor], tuple[_Candidate | None, Tensor]]
"""step [P] -> what it leads to, if that is acceptable, and its KL as a share of the bound."""


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
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    metrics = _metrics_before(losses, gradient, batch, ref)
    if not torch.isfinite(gradient).all():
        return meta, metrics | {"outcome": "gradient not finite"}
    if not gradient.any():
        return meta, metrics | {"outcome": "gradient zero"}
    with timer("curvature"):
        fraction = config.fisher_fraction
        curvature = fisher_product(objective, meta, batch, ref, fraction=fraction)
        step, metrics["cg_iterations"] = _longest_step(curvature, gradient, config)
    if step is None:
        return meta, metrics | {"outcome": "curvature not positive"}
    judge = _judge(objective, meta, batch, ref, processes.mean(losses), config)
    accepted, metrics["line_search_steps"] = _line_search(judge, step, config)
    if accepted is None:
        return meta, metrics | {"outcome": "no acceptable step"}
    return accepted.meta, metrics | accepted.metrics


def _metrics_before(losses: Tensor, gradient: Tensor, batch: MetaBatch, ref: Reference) -> Metrics:
    """The metrics of an update that has taken no step yet."""

    def mean_entropy(policy: Distribution, query: Data) -> Tensor:
        return masked_mean(policy.entropy(), query.mask)

    entropies = over_tasks(mean_entropy)(ref.policy, batch.query)
    return {
        "outcome": "accepted",
        "surrogate": -processes.mean(losses).item(),
        "surrogate/gain": 0.0,
        "entropy": processes.mean(entropies).item(),
        "kl": 0.0,
        "kl/per_task": [0.0] * int(processes.total(len(losses))),
        "gradient_norm": gradient.norm().item(),
        "cg_iterations": 0,
        "line_search_steps": 0,
    }


def _longest_step(
    curvature: Callable[[Tensor], Tensor], gradient: Tensor, config: TrustRegion
) -> tuple[Tensor | None, int]:
    """The step -x √(2 max_kl / x·Hx), H x = g, and the products spent on x.

    None where x·Hx is not positive: then there is no such step.
    """

    def damped(v: Tensor) -> Tensor:
        return curvature(v) + config.damping * v

    x, residual, spent = solve(
        damped,
        gradient,
        iterations=config.cg_iterations,
        early=gradient.device.type == "cpu",  # a GPU would be waited for twice a product
        agreed=processes.agreed,
    )
    # x·Hx without another product. Rounding leaves the residual not quite orthogonal to x, so that
    # x·g alone would be off by a hundredth where H is nearly singular.
    quadratic = x @ (gradient - residual)
    if not processes.agreed(bool(torch.isfinite(quadratic) and quadratic > 0)):
        return None, spent
    return -x * (2 * config.max_kl / quadratic).sqrt(), spent


def _judge(
    objective: Objective,
    meta: Meta,
    batch: MetaBatch,
    ref: Reference,
    before: Tensor,
    config: TrustRegion,
) -> Judge:
    """Accept candidates whose loss is below `before` and whose KL is within the bound."""
    theta, unravel = tree.ravel(meta)

    def judge(step: Tensor) -> tuple[_Candidate | None, Tensor]:
        candidate = unravel(theta + step)
        losses, kls = evaluate(objective, candidate, batch, ref)
        after, kl = processes.mean(losses), processes.mean(kls)
        share = kl / config.max_kl
        # A NaN fails both comparisons, so it is backed away from like any bad candidate.
        if not processes.agreed(bool(after < before and kl <= config.max_kl)):
            return None, share
        metrics: Metrics = {
            "surrogate": -after.item(),
            "surrogate/gain": (before - after).item(),
            "kl": kl.item(),
            "kl/per_task": processes.all_tasks(kls).tolist(),
        }
        return _Candidate(candidate, metrics), share

    return judge


def _line_search(judge: Judge, step: Tensor, config: TrustRegion) -> tuple[_Candidate | None, int]:
    """The first acceptable candidate along a step, None if there is none, and how many were tried.

    With curvature on part of the data the first may be too long or needlessly short: then the next
    has the length that its KL suggests.
    """
    short: _Candidate | None = None
    estimated = config.fisher_fraction < 1
    if estimated:
        step = step * AIM**0.5
    for tried in range(1, config.backtracks + 1):
        accepted, share = judge(step)
        if estimated and tried == 1 and (0 < share < FAR or 1 < share < torch.inf):
            short, step = accepted, step * (AIM / share).sqrt()
        elif accepted is not None:
            return accepted, tried
        else:
            step = step * config.backtrack_ratio
    return short, config.backtracks  # short, if nothing longer will do
