"""E-MAML (Stadie et al. 2018; Al-Shedivat et al. 2018): the inner data depend on θ too.

    ∇F(θ) = E [ (dφ/dθ)ᵀ ∇L'(φ) - (J(φ) - b) Σ_{τ in D} ∇ log p(τ; θ) ],   D ~ π_θ,  φ = adapt(θ, D)

The inner data are sampled by the policy that is meta-trained, so the adapted policy depends on θ in
two ways: through the inner step, and through the data it learned from. MAML has the second only in
its inner surrogate's Hessian, or (`log-likelihood`, the MAML paper's code) not at all; here it is
the score of the inner data times what they led to, the return J(φ) less a baseline b. Which of them
is the gradient of what: docs/meta_gradients.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor

from rlmaml import losses, processes
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import (
    AlgorithmContext,
    AlgorithmSettings,
    DataSpec,
    Overrides,
    RunConfig,
)
from rlmaml.errors import ConfigError
from rlmaml.objective import OuterLoss, over_tasks
from rlmaml.returns import Reduction, reduce
from rlmaml.types import Episodes, Iterates, MetaBatch, Policy


class EMAML(Algorithm):
    """MAML with the score term. Arguments as of `Algorithm`.

    The inner surrogate must be `log-likelihood`: the others have the score of the inner data in
    their Hessian, and it would count twice.
    """

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {"task_copies": 1_000_000}

        task_copies: int = 1
        """Copies of each task in a meta-iteration. With 1 the baseline is the other tasks'
        mean return, with more that of the other copies, which learned from data of their own."""

        def __post_init__(self) -> None:
            if self.task_copies < 1:
                raise ConfigError(
                    f"algorithm_settings.task_copies must be at least 1, got {self.task_copies}."
                )

    requires: ClassVar[Requires] = {
        "episodes": (
            "labeled examples do not depend on the parameters, so there is no score term."
        ),
        "support-hessian": (
            "it is the gradient of an adaptation that is differentiated on the data of the step "
            "itself."
        ),
    }
    settings: Settings

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        copies = context.settings.task_copies
        if context.inner.surrogate != "log-likelihood":
            raise ConfigError(
                f"inner.surrogate {context.inner.surrogate} has in its Hessian how the inner data "
                "depend on the parameters, and the score term of EMAML would count that a second "
                "time. Take inner.surrogate log-likelihood, or another algorithm."
            )
        if context.normalized_advantages:
            raise ConfigError(
                "EMAML adds a multiple of the return to a surrogate of advantages, so both must be "
                "in the reward's units: take outer_advantages.normalize False."
            )
        if context.tasks is not None and (context.tasks < 2 or context.tasks % copies):
            raise ConfigError(
                "EMAML takes its baseline from other tasks or copies of a task: tasks must be at "
                f"least 2 and a multiple of algorithm_settings.task_copies, got {context.tasks} "
                f"and {copies}."
            )

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        return {"inner.surrogate": "log-likelihood", "outer_advantages.normalize": False}

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        surrogates = ("log-likelihood", "lvc")
        return {"inner.surrogate": surrogates, "algorithm_settings.task_copies": (1, 4)}

    @property
    def data_spec(self) -> DataSpec:
        return super().data_spec._replace(task_copies=self.settings.task_copies)

    def prepare(self, batch: MetaBatch) -> MetaBatch:
        return batch._replace(
            credit=credit(batch.query, self.settings.task_copies, self.outer_reduction)
        )

    def outer_loss(self, iterates: Iterates, data: MetaBatch) -> Tensor:
        return super().outer_loss(iterates, data) + score_term(self.policy)(iterates, data)


def score_term(policy: Policy) -> OuterLoss:
    """-c Σ_k Σ_{τ in D_k} log p(τ; φ_k): the inner data's score times their credit.

    A sum over the episodes, not a mean: it is the score of the whole data set, through which
    the expectation over data sets is differentiated.
    """
    log_ratio = losses.log_trajectory_ratio(policy)

    def term(iterates: Iterates, data: MetaBatch) -> Tensor:
        score = data.query.mask.new_zeros(())
        for params, support in zip(iterates[:-1], data.support, strict=True):
            score = score + log_ratio(params, support)
        return -cast(Tensor, data.credit) * score

    return term


def credit(query: Episodes, copies: int = 1, reduction: Reduction = "steps") -> Tensor:
    """Credit of each task's inner data: the task's outer return less a baseline.

    The baseline must not depend on those inner data, or the score term no longer has the right
    mean. The task's other outer episodes do (they were sampled by the adapted policy); other
    tasks do not, nor other copies of the same task.

    Returns are undiscounted. Outer advantages with a discount or λ below 1 are smaller, and the
    score term weighs the more beside them. With reduction "steps" what counts is the reward per
    step, so that lasting longer at the same rate earns nothing.

    Args:
        query: leaves [N, B, T].
        copies: how often each task stands in the batch, one after the other. The baseline is
            the mean return of the other copies, or with 1 of all other tasks.
        reduction: as of the outer loss, so that both are in the same units.

    Raises:
        ConfigError: nothing to take a baseline from, or N that is no multiple of copies.

    Returns:
        [n], of the tasks of this process; the baselines are those of all.
    """
    own = over_tasks(lambda r, m: reduce(r, m, reduction))(query.rewards, query.mask)
    returns = processes.all_tasks(own)
    group = len(returns) if copies == 1 else copies
    if group < 2 or len(returns) % group:
        raise ConfigError(
            "The score term of EMAML needs a baseline from other tasks or copies of a task, but "
            f"got {len(returns)} tasks in copies of {copies}: draw at least 2, or a multiple of "
            "algorithm_settings.task_copies."
        )
    grouped = returns.view(-1, group).T  # [group, N / group]
    others = (grouped.sum(0) - grouped) / (group - 1)
    return (grouped - others).T.flatten()[processes.share(len(returns))]
