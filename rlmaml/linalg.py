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
) -> tuple[Tensor, int]:
    """Solve A x = b for a symmetric positive definite A known only by its products.

    Hestenes and Stiefel (1952). Vectors are replaced, never written in place, so none of
    them can alias another.

    Args:
        product: v [P] -> A v [P].
        b: [P].
        iterations: the most products to spend; P are enough in exact arithmetic.
        tolerance: stop once the squared residual falls below this times ‖b‖².

    Returns:
        x [P] and the number of products spent. Where A turns out not to be positive along a
        search direction, the x found so far: the caller checks x·Ax before using it.
    """
    x = torch.zeros_like(b)
    residual = direction = b
    squared = residual @ residual
    floor = tolerance * squared
    for spent in range(iterations):
        if not squared > floor:
            return x, spent
        image = product(direction)
        curvature = direction @ image
        if not curvature > 0:
            return x, spent + 1
        step = squared / curvature
        x = x + step * direction
        residual = residual - step * image
        previous, squared = squared, residual @ residual
        direction = residual + (squared / previous) * direction
    return x, iterations
