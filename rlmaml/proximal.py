"""Steps towards the minimizer of a proximal problem, φ* = argmin over φ of L(φ) + λ/2 ‖φ - θ‖²."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlmaml.linalg import conjugate_gradient

SIZES = tuple(0.5**i for i in range(8))
"""Shares of a Gauss-Newton step that are tried."""

Fields = tuple[Tensor, ...]
"""Outputs of a network, by field of its distribution."""


def gradient_step(
    loss: Callable[[Tensor], Tensor], w: Tensor, theta: Tensor, strength: float, size: float
) -> Tensor:
    """w - α [∇L(w) + λ (w - θ)], [P]; it comes nearer where α (∇²L + λ) is below 2."""
    return w - size * (torch.func.grad(loss)(w) + strength * (w - theta))


def gauss_newton_step(
    outputs: Callable[[Tensor], Fields],
    loss: Callable[..., Tensor],
    w: Tensor,
    theta: Tensor,
    strength: float,
    iterations: int,
) -> Tensor:
    """The best of some shares of the step to the minimizer of a quadratic model, [P].

    The model has the curvature JᵀHJ + λ, J being the derivative of the network's outputs and H that
    of the loss with respect to them: the generalized Gauss-Newton matrix (Schraudolph 2002), which
    is positive where the loss is convex in the outputs. Its rank is at most that of the outputs of
    all examples, so few products solve the model exactly where there are few shots.

    Args:
        outputs: w [P] -> the network's outputs on the data, a tuple of any shapes.
        loss: of as many arguments, such outputs, to a scalar; convex in them.
        w: where the step begins, [P].
        theta: θ, [P].
        strength: λ.
        iterations: of conjugate gradient, a product with the model's curvature each.
    """
    made, pull, *_ = torch.func.vjp(outputs, w)
    # A pull-back is linear, so that its own is the push-forward.
    push = torch.func.vjp(lambda *fields: pull(fields)[0], *map(torch.zeros_like, made))[1]
    slope, curvature, *_ = torch.func.vjp(
        lambda *fields: torch.func.grad(loss, argnums=tuple(range(len(fields))))(*fields), *made
    )

    def product(v: Tensor) -> Tensor:
        return pull(curvature(push(v)))[0] + strength * v

    def value(w: Tensor) -> Tensor:
        return loss(*outputs(w)) + strength / 2 * (w - theta).square().sum()

    gradient = pull(slope)[0] + strength * (w - theta)
    step = conjugate_gradient(product, gradient, iterations=iterations, early=False)[0]
    best, least = w, value(w)
    for size in SIZES:  # or none: then w is the minimizer, as far as can be told
        candidate = w - size * step
        found = value(candidate)
        best, least = torch.where(found < least, candidate, best), torch.minimum(found, least)
    return best


def residual(loss: Callable[[Tensor], Tensor], w: Tensor, theta: Tensor, strength: float) -> Tensor:
    """The share of its first gradient that the problem keeps: ‖∇L(w) + λ (w - θ)‖ / ‖∇L(θ)‖.

    It is 1 where the search begins, and 0 at the minimizer, or where there was no gradient.

    Args:
        loss: L, [P] -> scalar.
        w: where the search has come to, [P].
        theta: θ, where it began, [P].
        strength: λ.
    """
    gradient = torch.func.grad(loss)
    left, first = (gradient(w) + strength * (w - theta)).norm(), gradient(theta).norm()
    return torch.where(first > 0, left / first, torch.zeros_like(left))
