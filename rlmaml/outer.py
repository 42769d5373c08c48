"""What an outer step of reinforcement learning is to improve, beyond the adapted policy itself.

The inner data are sampled by the policy that is meta-trained, so the adapted policy depends on θ
in two ways: through the inner step, and through the data it learned from.

    adapted   L'(φ_K, D') alone: the second way goes through the inner surrogate's Hessian, or is
              ignored (`log_likelihood`, the MAML paper's code)
    e-maml    and a term with the score of the inner data times the outer return
              (Stadie et al. 2018, Al-Shedivat et al. 2018)
    promp     L' clipped, for several epochs, and a penalty on KL(π_old ‖ π) of the policies that
              sampled for the inner steps (Rothfuss et al. 2019, section 6)

Which of them is the gradient of what: docs/meta_gradients.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from rlmaml import losses
from rlmaml.objective import over_tasks
from rlmaml.returns import Reduction, masked_mean, reduce
from rlmaml.types import Episodes, MetaBatch, Path, Policy

PathTerm = Callable[[Path, MetaBatch], Tensor]


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the outer step improves."""

    name: Literal["adapted", "e-maml", "promp"] = "adapted"
    """The adapted policies' surrogate; that and the score of the inner data times the outer return
    (with inner.surrogate log-likelihood); or the surrogate clipped, for several epochs of
    `optimiser`, with a KL penalty (with inner.surrogate lvc)."""
    reduction: Reduction = "steps"
    """Mean over time steps, or sum over an episode and mean over episodes. Where episodes end
    early only the latter is the return's gradient."""
    task_copies: int = 1
    """e-maml: how often each task of a meta-iteration is drawn. With 1 the baseline is the other
    tasks' mean return, with more that of the other copies, which learned from data of their own."""
    clip: float = 0.3
    """promp: likelihood ratios count between 1 - clip and 1 + clip."""
    epochs: int = 5
    """promp: optimiser steps per meta-iteration."""
    kl_coefficient: float = 5e-4
    """promp: weight of the KL penalty of each inner step, at the start."""
    kl_target: float = 0.01
    """promp: the KL that its weight is adapted to, in nats per time step."""
    adaptive_kl: bool = True
    """promp: double the weight where the KL is over 1.5 times the target, halve it where it is
    under the target / 1.5, within a factor of 1024 of where it began."""

    def __post_init__(self) -> None:
        for name, ok, want in (
            ("task_copies", self.task_copies >= 1, "at least 1"),
            ("clip", 0 < self.clip < 1, "between 0 and 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("kl_coefficient", self.kl_coefficient >= 0, "zero or positive"),
            ("kl_target", self.kl_target > 0, "positive"),
        ):
            if not ok:
                raise ValueError(f"objective.{name} must be {want}, got {getattr(self, name)}.")


def score_term(policy: Policy) -> PathTerm:
    """-c Σ_k Σ_{τ in D_k} log p(τ; φ_k): the inner data's score times their credit.

    A sum over the episodes, not a mean: it is the score of the whole data set, through which
    the expectation over data sets is differentiated.
    """
    log_ratio = losses.log_trajectory_ratio(policy)

    def term(path: Path, data: MetaBatch) -> Tensor:
        score = data.query.mask.new_zeros(())
        for params, support in zip(path[:-1], data.support, strict=True):
            score = score + log_ratio(params, support)
        return -data.credit * score

    return term


def credit(query: Episodes, copies: int = 1, reduction: Reduction = "steps") -> Tensor:
    """What each task's inner data are credited with: its outer return less a baseline.

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
        ValueError: there is nothing to take a baseline from, or N is not a multiple of copies.

    Returns:
        [N].
    """
    returns = over_tasks(lambda r, m: reduce(r, m, reduction))(query.rewards, query.mask)
    group = len(returns) if copies == 1 else copies
    if group < 2 or len(returns) % group:
        raise ValueError(
            "The score term of e-maml needs a baseline from other tasks or copies of a task, but "
            f"got {len(returns)} tasks in copies of {copies}: draw at least 2, or a multiple of "
            "objective.task_copies."
        )
    grouped = returns.view(-1, group).T  # [group, N / group]
    others = (grouped.sum(0) - grouped) / (group - 1)
    return (grouped - others).T.flatten()


def kl_penalty(policy: Policy, coefficients: Sequence[float]) -> PathTerm:
    """Σ_k η_k KL(π_φk,old ‖ π_φk) on the states of D_k, nats per time step.

    It keeps the policies that an inner step starts from near those that sampled for it.

    Args:
        coefficients: η_k, one for each inner step.
    """

    def term(path: Path, data: MetaBatch) -> Tensor:
        penalty = data.query.mask.new_zeros(())
        for coefficient, kl in zip(coefficients, step_kls(policy, path, data), strict=True):
            penalty = penalty + coefficient * kl
        return penalty

    return term


def step_kls(policy: Policy, path: Path, data: MetaBatch) -> list[Tensor]:
    """KL(π_φk,old ‖ π_φk) on the states of D_k, for each inner step; φ_old is `data.path`."""
    kls = []
    for old, new, support in zip(data.path[:-1], path[:-1], data.support, strict=True):
        before: Any = policy(old, support.inputs)
        kls.append(masked_mean(before.kl(policy(new, support.inputs)), support.mask))
    return kls
