"""Outer steps by the rule of the analysis, w ← w - β g, with the package's own meta-gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from rlmaml.objective import Objective, meta_gradient
from rlmaml.types import MetaBatch
from runners.studies.convergence import bounds
from runners.studies.convergence.problems import Family, Samples, full_batch

Stop = Callable[[float], bool]
"""Given ‖∇F(w_k)‖, whether to stop."""


class Descent(NamedTuple):
    """The path of a descent."""

    w: Tensor  # [d], at the end
    norms: Tensor  # [T + 1]  ‖∇F(w_k)‖, before every step and after the last


def update(objective: Objective, w: Tensor, batch: MetaBatch) -> Tensor:
    """g_k of an algorithm on a batch, [d]."""
    return meta_gradient(objective, {"params": {"w": w}}, batch)[1]


def repeated(
    objective: Objective, w: Tensor, batch: MetaBatch, times: int
) -> Callable[[Tensor], Tensor]:
    """`update` as a function of w alone.

    For many calls the tensor operations of one are recorded, to be replayed without the
    transformations that produced them: the same to the bit, in a third of the time.

    Args:
        objective: of the algorithm.
        w: an example, [d].
        batch: the same at every call.
        times: how many calls there will be, about.
    """

    def call(w: Tensor) -> Tensor:
        return update(objective, w, batch)

    return make_fx(call)(w) if times >= 1000 else call  # recording costs some hundred calls


def never(norm: float) -> bool:
    """Go on until the last step."""
    return False


def exactly(
    family: Family,
    name: str,
    step_size: float,
    w: Tensor,
    steps: int,
    share: float,
    stop: Stop = never,
    settings: Mapping[str, float] | None = None,
) -> Descent:
    """Descend on all tasks without noise, β = share / L(w), until a step is lost in rounding.

    Args:
        family: the tasks.
        name: of the algorithm whose updates are made; MAML's on the same data are ∇F.
        step_size: α.
        w: where to start, [d].
        steps: T.
        share: of β̃ = 1/L(w).
        stop: whether to stop early.
        settings: the algorithm's own.
    """
    batch, constants, norms = full_batch(family), family.constants, []
    exact = repeated(family.objective("maml", step_size), w, batch, steps)
    own = exact
    if name != "maml":
        own = repeated(family.objective(name, step_size, **(settings or {})), w, batch, steps)
    for k in range(steps + 1):
        gradient = exact(w)
        norms.append(float(gradient.norm()))
        if k == steps or stop(norms[-1]):
            break
        direction = gradient if own is exact else own(w)
        slope = float(family.gradients(w).norm(dim=1).mean())
        following = w - share / bounds.smoothness_at(constants, step_size, slope) * direction
        if torch.equal(following, w):
            break
        w = following
    return Descent(w, torch.tensor(norms, dtype=torch.float64))


def by_samples(
    family: Family,
    step_size: float,
    w: Tensor,
    steps: int,
    share: float,
    sizes: bounds.Batches,
    rng: torch.Generator,
    stop: Stop,
) -> Descent:
    """Descend by Algorithm 1 as it is analyzed: with samples, of tasks and of their data.

    A step draws tasks and three sets of samples, and estimates β̃ from others, so that it does not
    depend on them. ‖∇F‖ is measured exactly beside it.

    Args:
        family: the tasks.
        step_size: α.
        w: where to start, [d].
        steps: T.
        share: of β̃.
        sizes: of the batches.
        rng: draws.
        stop: whether to stop early.
    """
    constants, objective = family.constants, family.objective("maml", step_size)
    exact, norms = repeated(objective, w, full_batch(family), steps), []
    for k in range(steps + 1):
        norms.append(float(exact(w).norm()))
        if k == steps or stop(norms[-1]):
            break
        slope = _estimated_slope(family, w, sizes, rng)
        tasks = torch.randint(len(family.centers), (sizes.tasks,), generator=rng)
        support, query, hessian = (
            family.draw(tasks, count, rng) for count in (sizes.inner, sizes.outer, sizes.hessian)
        )
        direction = update(objective, w, MetaBatch((support,), query, (hessian,)))
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


def first_below(norms: Tensor, precisions: Tensor) -> Tensor:
    """T(ε) of a descent: the first k with ‖∇F(w_k)‖ ≤ ε, [E]; -1 where there is none."""
    below = norms[:, None] <= precisions
    return torch.where(below.any(0), below.to(torch.uint8).argmax(0), -1)


def exponent(precisions: Tensor, counts: Tensor) -> float:
    """The exponent s of T(ε) = A ε^{-s} + B, fitted to the differences between successive T.

    The start, which B stands for, cancels; a term of a power between does not.

    Args:
        precisions: ε, falling by the same factor each time, [E].
        counts: T(ε), [E].
    """
    return -float(np.polyfit(precisions[1:].log(), counts.double().diff().log(), 1)[0])
