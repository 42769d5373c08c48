"""MAML for reinforcement learning (Finn, Abbeel and Levine 2017, algorithm 3).

    φ_i = θ - α ∇L_i(θ, D_i),    min over θ of  Σ_i L_i(φ_i, D'_i)

with D_i sampled by π_θ, D'_i by π_φi, L the policy-gradient surrogate, and a trust-region
step on θ. With the `first_order` adjoint it is FO-MAML; with no inner steps, plain TRPO on the
average task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlmaml import losses, trpo
from rlmaml.adjoints import ADJOINTS
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective
from rlmaml.types import Meta, MetaBatch, Metrics, Policy


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: how a policy adapts to one task."""

    steps: int = 1
    """Gradient steps K, each on freshly sampled episodes; 0 is plain TRPO on the average task."""
    step_size: float = 0.1
    """α of the inner gradient step; refers to the mean over time steps."""
    adjoint: Literal["unrolled", "first-order"] = "unrolled"
    """Differentiate through the adaptation exactly, or take its Jacobian as I (FO-MAML)."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner.steps must be zero or more, got {self.steps}.")
        if not self.step_size > 0:
            raise ValueError(f"inner.step_size must be positive, got {self.step_size}.")


class MAML:
    """A method: the meta-objective, how many steps to collect for, and the update.

    Args:
        policy: (params, observations) -> distribution.
        inner: the inner loop's settings.
        trust_region: the outer step's settings.
        chunk_size: tasks per stacked computation; None is all at once. Small chunks stay in
            a CPU's cache, a GPU wants one big one.
    """

    def __init__(
        self,
        policy: Policy,
        inner: InnerConfig | None = None,
        trust_region: trpo.TrustRegion | None = None,
        *,
        chunk_size: int | None = None,
    ) -> None:
        self.settings = inner or InnerConfig()
        self.trust_region = trust_region or trpo.TrustRegion()
        self.steps = self.settings.steps
        self.inner = gradient_descent(losses.log_likelihood(policy), self.settings.step_size)
        self.objective = Objective(
            inner=self.inner,
            adjoint=ADJOINTS[self.settings.adjoint],
            loss=losses.likelihood_ratio(policy),
            policy=policy,
            chunk_size=chunk_size,
        )

    def update(self, meta: Meta, batch: MetaBatch) -> tuple[Meta, Metrics]:
        """One outer step. `batch` was collected with `meta`; its leaves are [N, ...]."""
        return trpo.update(self.objective, meta, batch, self.trust_region)
