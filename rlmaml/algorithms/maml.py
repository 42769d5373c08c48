"""MAML (Finn, Abbeel and Levine 2017, algorithms 2 and 3).

    φ_i = θ - α ∇L_i(θ, D_i),    min over θ of  Σ_i L_i(φ_i, D'_i)

In reinforcement learning D_i is sampled by π_θ, D'_i by π_φi, L is a policy-gradient surrogate
and the step on θ a trust region's; in supervised learning D_i and D'_i are labelled examples, L
is their loss and the step an optimiser's. Either outer step serves both. With the `first_order`
adjoint it is FO-MAML; with no inner steps, training on the average task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rlmaml import losses
from rlmaml.adjoints import ADJOINTS
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective
from rlmaml.optimisers import Optimiser
from rlmaml.trpo import TrustRegion
from rlmaml.types import Meta, MetaBatch, Metrics, Params, Policy, State


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: how a model adapts to one task."""

    steps: int = 1
    """Gradient steps K, on fresh episodes each or all on the same examples; 0 trains on the
    average task."""
    step_size: float = 0.1
    """α of the inner gradient step; refers to the mean over time steps or examples."""
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
        policy: (params, inputs) -> distribution.
        inner: the inner loop's settings.
        outer: the outer step: a `TrustRegion` or an `Optimiser`.
        inner_loss: makes the inner loss of a policy; `losses.mse` or `losses.cross_entropy` for
            labelled examples.
        outer_loss: makes the outer loss of a policy; as above.
        chunk_size: tasks per stacked computation; None is all at once. Small chunks stay in
            a CPU's cache, a GPU wants one big one.
    """

    def __init__(
        self,
        policy: Policy,
        inner: InnerConfig | None = None,
        outer: TrustRegion | Optimiser | None = None,
        *,
        inner_loss: Callable[[Policy], losses.Loss] = losses.log_likelihood,
        outer_loss: Callable[[Policy], losses.Loss] = losses.likelihood_ratio,
        chunk_size: int | None = None,
    ) -> None:
        self.settings = inner or InnerConfig()
        self.outer = outer or TrustRegion()
        self.steps = self.settings.steps
        self.inner = gradient_descent(inner_loss(policy), self.settings.step_size)
        self.objective = Objective(
            inner=self.inner,
            adjoint=ADJOINTS[self.settings.adjoint],
            loss=outer_loss(policy),
            policy=policy,
            chunk_size=chunk_size,
        )

    def init(self, params: Params) -> State:
        """The state to begin with: initial parameters, and an outer step that has seen nothing."""
        return self.restore({"params": params})

    def restore(self, meta: Meta, saved: dict[str, Any] | None = None) -> State:
        """A state from meta-parameters and what `saved` gave of the outer step, if anything."""
        return State(meta, self.outer.init(meta, saved))

    def saved(self, state: State) -> dict[str, Any]:
        """What of a state is not in its meta-parameters: tensors, numbers, containers of them."""
        return self.outer.saved(state.outer)

    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        """One outer step. `batch` was collected with `state.meta`; its leaves are [N, ...]."""
        return self.outer.update(self.objective, state, batch)
