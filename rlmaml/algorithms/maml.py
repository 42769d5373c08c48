"""MAML (Finn, Abbeel and Levine 2017, algorithms 2 and 3).

    φ_i = θ - α ∇L_i(θ, D_i),    min over θ of  Σ_i L_i(φ_i, D'_i)

In reinforcement learning D_i is sampled by π_θ, D'_i by π_φi, L is a policy-gradient surrogate
and the step on θ a trust region's; in supervised learning D_i and D'_i are labelled examples, L
is their loss and the step an optimiser's. Either outer step serves both. With the `first_order`
adjoint it is FO-MAML; with no inner steps, training on the average task; with other surrogates
and outer objectives of reinforcement learning it is E-MAML, MAML with DiCE, and ProMP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from rlmaml import losses
from rlmaml.adjoints import ADJOINTS
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective
from rlmaml.optimisers import Optimiser
from rlmaml.outer import ObjectiveConfig, credit, score_term
from rlmaml.promp import ProximalStep
from rlmaml.returns import Reduction
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
    later_step_size: float | None = None
    """α of the steps after the first; None is step_size. The MAML paper's evaluation halves it."""
    adjoint: Literal["unrolled", "first-order"] = "unrolled"
    """Differentiate through the adaptation exactly, or take its Jacobian as I (FO-MAML)."""
    surrogate: Literal["log-likelihood", "lvc", "dice"] = "lvc"
    """What the steps descend (data episodes): the MAML paper's, ProMP's low-variance-curvature, or
    DiCE. The step is the same; what comes back through it differs (docs/meta_gradients.md)."""
    reduction: Reduction = "steps"
    """Mean over time steps, or sum over an episode and mean over episodes: then the same step_size
    makes a step T times as long."""
    hessian: Literal["support", "separate"] = "support"
    """Data for the derivative of a step: those of the step, or as many more, independent of them
    (Fallah et al. 2020, algorithm 1)."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner.steps must be zero or more, got {self.steps}.")
        for name in ("step_size", "later_step_size"):
            size = getattr(self, name)
            if size is not None and not size > 0:
                raise ValueError(f"inner.{name} must be positive, got {size}.")
        if self.hessian == "separate" and self.adjoint == "first-order":
            raise ValueError(
                "inner.hessian separate draws data for a derivative that inner.adjoint first-order "
                "leaves out: take inner.hessian support."
            )

    @property
    def chooses_loss(self) -> bool:
        """Whether a policy-gradient loss is asked for other than the usual one."""
        return (self.surrogate, self.reduction) != (InnerConfig.surrogate, InnerConfig.reduction)


class MAML:
    """A method: the meta-objective, what to collect for it, and the update.

    Args:
        policy: (params, inputs) -> distribution.
        inner: the inner loop's settings.
        outer: the outer step: a `TrustRegion` or an `Optimiser`.
        objective: what the outer step improves, in reinforcement learning.
        inner_loss: makes the inner loss of a policy, in place of `inner.surrogate`: `losses.mse`
            or `losses.cross_entropy` for labelled examples.
        outer_loss: makes the outer loss of a policy, in place of the likelihood ratio; as above.
        chunk_size: tasks per stacked computation; None is all at once. Small chunks stay in
            a CPU's cache, a GPU wants one big one.

    Raises:
        ValueError: settings that do not go together.
    """

    def __init__(
        self,
        policy: Policy,
        inner: InnerConfig | None = None,
        outer: TrustRegion | Optimiser | None = None,
        *,
        objective: ObjectiveConfig | None = None,
        inner_loss: Callable[[Policy], losses.Loss] | None = None,
        outer_loss: Callable[[Policy], losses.Loss] | None = None,
        chunk_size: int | None = None,
    ) -> None:
        self.settings = inner or InnerConfig()
        self.aim = objective or ObjectiveConfig()
        step = outer or TrustRegion()
        check_combination(self.settings, self.aim, step)
        if self.aim.name != "adapted" and (inner_loss or outer_loss):
            raise ValueError(
                f"objective.name {self.aim.name} is made for the policy-gradient surrogates: leave "
                "out inner_loss and outer_loss, or take objective.name adapted."
            )
        if inner_loss is not None and self.settings.chooses_loss:
            raise ValueError(
                "inner.surrogate and inner.reduction choose a policy-gradient loss, and inner_loss "
                "is another: leave one of them out."
            )
        if inner_loss is None:
            surrogate = losses.SURROGATES[self.settings.surrogate]
            inner_loss = partial(surrogate, reduction=self.settings.reduction)
        if outer_loss is None:
            outer_loss = partial(losses.likelihood_ratio, reduction=self.aim.reduction)
        self.outer: TrustRegion | Optimiser | ProximalStep = step
        path_term = None
        if self.aim.name == "e-maml":
            path_term = score_term(policy)
        elif isinstance(step, Optimiser) and self.aim.name == "promp":
            outer_loss = partial(
                losses.clipped_ratio, clip=self.aim.clip, reduction=self.aim.reduction
            )
            self.outer = ProximalStep(step, self.aim, self.settings.steps)
        self.steps = self.settings.steps
        self.own_hessian = self.settings.hessian == "separate"
        self.task_copies = self.aim.task_copies
        self.inner = gradient_descent(
            inner_loss(policy), self.settings.step_size, self.settings.later_step_size
        )
        self.objective = Objective(
            inner=self.inner,
            adjoint=ADJOINTS[self.settings.adjoint],
            loss=outer_loss(policy),
            policy=policy,
            chunk_size=chunk_size,
            path_term=path_term,
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

    def prepare(self, batch: MetaBatch) -> MetaBatch:
        """Fill in what a task's outer loss has to know of the other tasks."""
        if self.aim.name != "e-maml":
            return batch
        return batch._replace(credit=credit(batch.query, self.task_copies, self.aim.reduction))

    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        """One outer step. `batch` was collected with `state.meta`; its leaves are [N, ...]."""
        return self.outer.update(self.objective, state, self.prepare(batch))


def check_combination(
    inner: InnerConfig, objective: ObjectiveConfig, outer: TrustRegion | Optimiser
) -> None:
    """Whether an inner surrogate, an outer objective and an outer step go together.

    Raises:
        ValueError: the dependence of the inner data on the parameters would count twice, or not
            where it must; with the reason and what to take.
    """
    problem = None
    if objective.name == "e-maml" and inner.surrogate != "log-likelihood":
        problem = (
            f"inner.surrogate {inner.surrogate} has in its Hessian how the inner data depend on "
            "the parameters, and the score term of objective.name e-maml would count that a "
            "second time. Take inner.surrogate log-likelihood, or objective.name adapted."
        )
    elif objective.name == "e-maml" and inner.hessian == "separate":
        problem = (
            "objective.name e-maml is the gradient of an adaptation that is differentiated on the "
            "data of the step itself. Take inner.hessian support."
        )
    elif objective.name == "promp" and inner.surrogate != "lvc":
        how = (
            "does not correct for"
            if inner.surrogate == "log-likelihood"
            else "corrects for by products over whole episodes, which are too noisy"
        )
        problem = (
            "objective.name promp moves on from the parameters that sampled, for several epochs, "
            f"which inner.surrogate {inner.surrogate} {how}. Take inner.surrogate lvc."
        )
    elif objective.name == "promp" and not isinstance(outer, Optimiser):
        problem = (
            "objective.name promp keeps its steps short by clipping and a KL penalty, not by a "
            "trust region. Take outer optimiser (in Python, outer=Optimiser())."
        )
    elif objective.name != "e-maml" and objective.task_copies > 1:
        problem = (
            f"objective.task_copies {objective.task_copies} gives objective.name e-maml its "
            f"baseline; objective.name {objective.name} would see fewer tasks for nothing. Take "
            "objective.task_copies 1."
        )
    if problem is not None:
        raise ValueError(problem)
