"""Outer steps by the rule of the analysis, w ← w - β g, with the package's own meta-gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlmaml.objective import Objective, meta_gradient
from rlmaml.types import MetaBatch
from runners.studies.convergence import bounds
from runners.studies.convergence.problems import Family, Samples, full_batch


class Descent(NamedTuple):
    """Where outer steps have led."""

    w: Tensor  # [d]
    norms: Tensor  # [T + 1]  ‖∇F(w_k)‖, before every step and after the last


def update(objective: Objective, w: Tensor, batch: MetaBatch) -> Tensor:
    """g_k of a method on some data, [d]."""
    return meta_gradient(objective, {"params": {"w": w}}, batch)[1]


def exactly(
    family: Family,
    name: str,
    step_size: float,
    w: Tensor,
    steps: int,
    share: float,
    stop: Callable[[float], bool] = lambda norm: False,
    **settings: Any,
) -> Descent:
    """All tasks and no noise, β = share / L(w), until a step is lost in rounding.

    Args:
        name: of the method whose updates are made; MAML's on the same data are ∇F.
        step_size: α.
        share: of β̃ = 1/L(w).
        stop: given ‖∇F‖, whether that will do.
        settings: the method's own.
    """
    batch, constants, norms = full_batch(family), family.constants, []
    judge = family.objective("maml", step_size)
    its = judge if name == "maml" else family.objective(name, step_size, **settings)
    for k in range(steps + 1):
        gradient = update(judge, w, batch)
        norms.append(float(gradient.norm()))
        if k == steps or stop(norms[-1]):
            break
        direction = gradient if its is judge else update(its, w, batch)
        slope = float(family.gradients(w).norm(dim=1).mean())
        there = w - share / bounds.smoothness_at(constants, step_size, slope) * direction
        if torch.equal(there, w):
            break
        w = there
    return Descent(w, torch.tensor(norms, dtype=torch.float64))


def by_samples(
    family: Family,
    step_size: float,
    w: Tensor,
    steps: int,
    share: float,
    sizes: bounds.Batches,
    rng: torch.Generator,
    stop: Callable[[float], bool],
) -> Descent:
    """Algorithm 1 as it is analyzed: tasks and three sets of samples a step, and β̃ estimated from
    others, so that it does not depend on them. ‖∇F‖ is measured exactly beside it."""
    constants, its = family.constants, family.objective("maml", step_size)
    everything, norms = full_batch(family), []
    for k in range(steps + 1):
        norms.append(float(update(its, w, everything).norm()))
        if k == steps or stop(norms[-1]):
            break
        slope = _estimated_slope(family, w, sizes, rng)
        tasks = torch.randint(len(family.centers), (sizes.tasks,), generator=rng)
        support, query, hessian = (
            family.draw(tasks, count, rng) for count in (sizes.inner, sizes.outer, sizes.hessian)
        )
        direction = update(its, w, MetaBatch((support,), query, (hessian,)))
        w = w - share / bounds.smoothness_at(constants, step_size, slope) * direction
    return Descent(w, torch.tensor(norms, dtype=torch.float64))


def _estimated_slope(
    family: Family, w: Tensor, sizes: bounds.Batches, rng: torch.Generator
) -> float:
    """(1/B') Σ_j ‖∇̃f_j(w, D_β)‖."""
    tasks = torch.randint(len(family.centers), (sizes.step_tasks,), generator=rng)
    samples = family.draw(tasks, sizes.step_samples, rng)

    def gradient(data: Samples) -> Tensor:
        return torch.func.grad(lambda w: family.loss({"w": w}, data))(w)

    return float(torch.func.vmap(gradient)(samples).norm(dim=1).mean())


def when(norms: Tensor, precisions: Tensor) -> Tensor:
    """T(ε) of a descent: the first k with ‖∇F(w_k)‖ ≤ ε, [E]; -1 where it was not reached."""
    below = norms[:, None] <= precisions
    return torch.where(below.any(0), below.to(torch.uint8).argmax(0), -1)


def exponent(precisions: Tensor, counts: Tensor) -> float:
    """s of T(ε) = A ε^{-s} + B, from how much longer each ε took than the one before.

    Args:
        precisions: falling by the same factor each time, [E].
        counts: T of them.

    The start, which B stands for, cancels; a term of a power between does not.
    """
    return -float(np.polyfit(precisions[1:].log(), counts.double().diff().log(), 1)[0])
