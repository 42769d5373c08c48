"""The inequalities of the convergence analysis (Fallah, Mokhtari and Ozdaglar 2020), as functions.

Numbers in brackets are those of docs/theory.md. α is the inner step size, and D_in, D_o, D_h, B
are batch sizes: samples of a task for the inner step, the outer gradient and the Hessian; tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runners.studies.convergence.problems import Constants

STEP_SHARES = {"maml": 1 / 12, "fo-maml": 1 / 18, "hf-maml": 1 / 25}
"""β as a share of β̃."""
INNER_SHARES = {"maml": 1 / 6, "fo-maml": 1 / 10, "hf-maml": 1 / 6}
"""The largest α, as a share of 1/L."""


def largest_step_size(constants: Constants, name: str = "maml") -> float:
    """The largest α that an algorithm's theorem allows."""
    return INNER_SHARES[name] / constants.smoothness


def first_order_bias(constants: Constants, step_size: float, inner: int) -> float:
    """A bound of ‖E G_i - ∇F‖ over tasks and samples, as (7) has it: (1 + αL) αL σ̃/√D_in.

    At α = 1/6L it is 7/36 σ̃/√D_in, and with ‖a + b‖² ≤ 2‖a‖² + 2‖b‖² this is (7).
    """
    reach = step_size * constants.smoothness
    return (1 + reach) * reach * constants.gradient_noise / math.sqrt(inner)


def second_order_bias(constants: Constants, step_size: float, inner: int) -> float:
    """A bound of the same bias, (1 + αL) ½ ρ α² σ̃²/D_in; the smaller one where D_in > (ρασ̃/2L)².

    The noise of the inner step has mean zero, so only the curvature of ∇f_i makes a bias of it.
    """
    noise = step_size**2 * constants.gradient_noise**2 / inner
    return (1 + step_size * constants.smoothness) * constants.hessian_lipschitz * noise / 2


def first_moment(constants: Constants, gradient: float, inner: int) -> float:
    """The bound (7) of ‖E G_i‖², where ‖∇F‖ = gradient."""
    return 2 * gradient**2 + 0.08 * constants.gradient_noise**2 / inner


def second_moment(constants: Constants, gradient: float, inner: int, outer: int) -> float:
    """The bound (8) of E‖G_i‖², where ‖∇F‖ = gradient."""
    samples = constants.gradient_noise**2 * (2 / outer + 1 / (6 * inner))
    return 40 * gradient**2 + 14 * constants.between_tasks**2 + samples


def smoothness_at(constants: Constants, step_size: float, task_gradients: float) -> float:
    """Smoothness of F around w: L(w) = 4L + 2ρα E_i‖∇f_i(w)‖, of which 1/β̃ is an estimate.

    Args:
        constants: of the tasks.
        step_size: α.
        task_gradients: E_i‖∇f_i(w)‖.
    """
    slope = 2 * constants.hessian_lipschitz * step_size
    return 4 * constants.smoothness + slope * task_gradients


def iterations(constants: Constants, step_size: float, gap: float, precision: float) -> float:
    """The bound (14): T such that E‖∇F(w_k)‖ ≤ ε for some k ≤ T, where F(w_0) - inf F = gap."""
    bend = constants.hessian_lipschitz * step_size * (constants.between_tasks + precision)
    return 1600 * gap * (constants.smoothness + bend) / precision**2


@dataclass(frozen=True)
class Batches:
    """Batch sizes of one iteration."""

    tasks: int  # B
    inner: int  # D_in
    outer: int  # D_o
    hessian: int  # D_h
    step_tasks: int  # B', of the estimate of β̃
    step_samples: int  # D_β


def batches(constants: Constants, step_size: float, precision: float) -> Batches:
    """Batch sizes for which the floor of the theorem is at most ε.

    E‖∇F‖ ≤ max{√(61 (1 + ρασ/L) N), 61 (ρα/L) N, ε},  N = σ²/B + σ̃²/(B D_o) + σ̃²/D_in.

    Half of the largest such N is given to D_in, and a quarter to each of the other two terms;
    docs/theory.md derives the numbers.
    """
    bent = constants.hessian_lipschitz * step_size / constants.smoothness
    first = precision**2 / (61 * (1 + bent * constants.between_tasks))
    largest = min(first, precision / (61 * bent)) if bent > 0 else first  # N
    noise, spread = constants.gradient_noise**2, constants.between_tasks**2
    tasks = max(20, math.ceil(4 * spread / largest))
    hessian = 2 * step_size**2 * constants.hessian_noise**2
    return Batches(
        tasks=tasks,
        inner=max(1, math.ceil(2 * noise / largest)),
        outer=max(1, math.ceil(4 * noise / (largest * tasks))),
        hessian=max(1, math.ceil(hessian)),
        step_tasks=max(1, math.ceil((bent * constants.between_tasks) ** 2 / 2)),
        step_samples=max(1, math.ceil((2 * bent * constants.gradient_noise) ** 2)),
    )


def floor(constants: Constants, step_size: float, sizes: Batches) -> float:
    """The bound of E‖∇F‖ with these batches after any number of iterations."""
    bent = constants.hessian_lipschitz * step_size / constants.smoothness
    left = noise(constants, sizes)
    return max(math.sqrt(61 * (1 + bent * constants.between_tasks) * left), 61 * bent * left)


def noise(constants: Constants, sizes: Batches) -> float:
    """N of the floor, σ²/B + σ̃²/(B D_o) + σ̃²/D_in."""
    spread, samples = constants.between_tasks**2, constants.gradient_noise**2
    between = spread / sizes.tasks
    return between + samples / (sizes.tasks * sizes.outer) + samples / sizes.inner
