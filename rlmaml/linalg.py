"""Conjugate gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    iterations: int = 10,
    tolerance: float = 1e-10,
    early: bool = True,
) -> tuple[Tensor, int]:
    """Solve A x = b for a symmetric positive definite A known only by its products.

    Hestenes and Stiefel (1952). Vectors are replaced, never written in place, so none of
    them can alias another.

    Args:
        product: v [P] -> A v [P].
        b: [P].
        iterations: the most products to spend; P are enough in exact arithmetic.
        tolerance: stop once the squared residual is no more than this times ‖b‖².
        early: stop by leaving the loop. Under `vmap` a loop cannot depend on the data: without
            `early` all iterations are spent, and those after the stop change nothing.

    Returns:
        x [P] and the number of products spent. Where A turns out not to be positive along a
        search direction, the x found so far: the caller checks x·Ax before using it.
    """
    x, _, spent = solve(product, b, iterations=iterations, tolerance=tolerance, early=early)
    return x, spent


def solve(
    product: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    iterations: int = 10,
    tolerance: float = 1e-10,
    early: bool = True,
    agreed: Callable[[bool], bool] = bool,
) -> tuple[Tensor, Tensor, int]:
    """`conjugate_gradient` with the residual b - A x [P] between x and the number of products.

    Args:
        product: v [P] -> A v [P].
        b: [P].
        iterations, tolerance, early: as of `conjugate_gradient`.
        agreed: what several solvers of one system make of a decision to go on.
    """
    x = torch.zeros_like(b)
    residual = direction = b
    squared = residual @ residual
    floor = tolerance * squared
    for spent in range(iterations):
        if early and not agreed(bool(squared > floor)):
            return x, residual, spent
        image = product(direction)
        curvature = direction @ image
        going = (squared > floor) & (curvature > 0)
        if early and not agreed(bool(going)):
            return x, residual, spent + 1
        step = torch.where(going, squared / curvature, 0)
        # By `where`: a product that is not finite would make 0 times it NaN.
        x = torch.where(going, x + step * direction, x)
        residual = torch.where(going, residual - step * image, residual)
        previous, squared = squared, residual @ residual
        # Having stopped, the direction stays too: a new one could start it again.
        direction = torch.where(going, residual + (squared / previous) * direction, direction)
    return x, residual, iterations
