"""Adjoints: how an outer derivative comes back through adaptation.

An adjoint computes what `adapt` computes, φ_0 .. φ_K; it decides what dφ_k/dθ is taken to be.
Everything that differentiates the adaptation (the meta-gradient by pulling back, the trust
region's curvature by pushing forward and pulling back) goes through the same adjoint, so the
two Jacobian products are transposes of each other by construction (of `hessian_free`, up to the
error of its differences).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.linalg import conjugate_gradient
from rlmaml.types import Adjoint, Data, InnerLoop, Iterates, Meta, Params


def unrolled(
    inner: InnerLoop,
    meta: Meta,
    support: tuple[Data, ...],
    hessian: tuple[Data, ...] = (),
) -> Iterates:
    """The exact derivative: dφ_K/dθ = Π_k (I - α ∇²L(φ_k, D_k)) (Finn et al. 2017).

    With `hessian` data, ∇²L is taken on those instead: the update that Fallah, Mokhtari and
    Ozdaglar 2020 analyze (algorithm 1), with independent data for step, Hessian and outer loss.
    """
    if not hessian:
        return adapt(inner, meta, support)
    return adapt(anchored(inner, adapt(inner, meta, support)), meta, hessian)


def first_order(
    inner: InnerLoop,
    meta: Meta,
    support: tuple[Data, ...],
    hessian: tuple[Data, ...] = (),
) -> Iterates:
    """FO-MAML: dφ_k/dθ = I, the curvature of the inner loss ignored (Finn et al. 2017, 5.2)."""
    start = inner.start(meta)
    return tuple(
        tree.map(lambda s, p: s + (p - s).detach(), start, params)
        for params in _values(inner, meta, support)
    )


def hessian_free(
    loss: Callable[[Params, Data], Tensor],
    step_size: float,
    *,
    shift: float | None = None,
    hessian_lipschitz: float | None = None,
) -> Adjoint:
    """HF-MAML: Hessians by differences of gradients (Fallah et al. 2020, algorithm 2).

    A cotangent v comes back through step k, k = K-1 .. 0, as

        v - α [∇L(φ_k + δv, D) - ∇L(φ_k - δv, D)] / 2δ,   δ = h / ‖v‖,

    D being `hessian[k]`, else `support[k]`, and ‖v‖ that of all of a task's parameters as one
    vector. Exact where ∇L is affine; elsewhere the product is off by truncation, as h², and by
    rounding, as 1/h. Up to these errors the map is linear and its own transpose, so pushing forward
    takes it as it is. Adaptation records no graph, and a step's way back costs two gradients.

    L should be smooth. A ReLU makes ∇L jump wherever an example switches a unit on or off, and
    each that does between the two points adds jump/2δ: noise that grows as h shrinks, and may
    exceed what `first_order` leaves out.

    Args:
        loss: L, (params, one task's data) -> scalar.
        step_size: α, the inner loop's; not learned.
        shift: h, how far from φ_k the gradients are taken. None: (ε (1 + ‖φ_k‖))^⅓, ε the dtype's
            (1e-7, 2e-16): 0.01 or 1e-5 where ‖φ_k‖ is 10. Truncation is about h², relative to the
            product, if L changes over distances of 1, as it does whatever the network's size;
            rounding of φ_k ± δv is about ε‖φ_k‖ in h. The two meet at this h, around 1e-4 or
            1e-10. For a one-sided difference the same gives √(ε (1 + ‖φ_k‖)), the customary
            choice of Newton-Krylov methods (Knoll and Keyes 2004).
        hessian_lipschitz: ρ, for the published h = 1/6ρα. The step's way back is then off by at
            most ‖v‖/12, whatever v: enough for convergence in theory, not for accuracy.

    Raises:
        ConfigError: a size that is not positive, or both `shift` and `hessian_lipschitz`.
    """
    _require_positive(step_size=step_size, shift=shift, hessian_lipschitz=hessian_lipschitz)
    if shift is not None and hessian_lipschitz is not None:
        raise ConfigError("Give shift or hessian_lipschitz, not both: either determines h.")

    def distance(w: Tensor) -> Tensor | float:
        if shift is not None:
            return shift
        if hessian_lipschitz is not None:
            return 1 / (6 * hessian_lipschitz * step_size)
        return (torch.finfo(w.dtype).eps * (1 + w.norm())) ** (1 / 3)

    def pull(v: Tensor, params: Params, data: Data) -> Tensor:
        w, gradient = _gradient(loss, params, data)
        length = v.norm()
        delta = distance(w) / torch.where(length > 0, length, 1)  # v = 0 gives 0
        return v - step_size * (gradient(w + delta * v) - gradient(w - delta * v)) / (2 * delta)

    def adjoint(
        inner: InnerLoop, meta: Meta, support: tuple[Data, ...], hessian: tuple[Data, ...] = ()
    ) -> Iterates:
        values, iterates = _values(inner, meta, support), [inner.start(meta)]
        steps = zip(values[:-1], values[1:], hessian or support, strict=True)
        for params, end, data in steps:
            iterates.append(_linked(iterates[-1], end, pull, params, data))
        return tuple(iterates)

    return adjoint


def implicit(
    loss: Callable[[Params, Data], Tensor], strength: float, *, iterations: int = 5
) -> Adjoint:
    """iMAML: the derivative of a minimizer (Rajeswaran et al. 2019, lemma 1, algorithm 2).

    At φ* = argmin_φ L(φ, D) + λ/2 ‖φ - θ‖² the gradient is zero: ∇L(φ*, D) + λ(φ* - θ) = 0 for
    every θ, and its derivative with respect to θ gives

        dφ*/dθ = (I + ∇²L(φ*, D)/λ)⁻¹.

    Every φ_k, k > 0, is taken for φ*, and D for `support[k-1]`; so the inner loop should run
    towards φ* and every entry of `support` be the same data. The inverse is never formed:
    conjugate gradient finds its product with a cotangent. Adaptation records no graph, so that
    memory hardly grows with K, and the derivative does not depend on the way to φ_k.

    Args:
        loss: L, (params, one task's data) -> scalar.
        strength: λ. It must exceed the curvature of L in every direction where that is negative:
            else there need be no φ*, and where conjugate gradient meets such a direction it stops
            at what it has, which may be zero.
        iterations: of conjugate gradient, a Hessian's product each. In exact arithmetic as many as
            ∇²L has different eigenvalues are enough; the paper takes 5.

    Raises:
        ConfigError: a size that is not positive; by the adjoint, `hessian` data.
    """
    _require_positive(strength=strength, iterations=iterations)

    def solve(v: Tensor, params: Params, data: Data) -> Tensor:
        w, gradient = _gradient(loss, params, data)
        # Reverse over reverse: the graph of ∇L, recorded once, serves every product.
        _, curvature, *_ = torch.func.vjp(gradient, w)

        def product(u: Tensor) -> Tensor:
            return u + curvature(u)[0] / strength

        return conjugate_gradient(product, v, iterations=iterations, tolerance=0, early=False)[0]

    def adjoint(
        inner: InnerLoop, meta: Meta, support: tuple[Data, ...], hessian: tuple[Data, ...] = ()
    ) -> Iterates:
        if hessian:
            raise ConfigError(
                "The implicit adjoint takes no Hessian data of its own: φ* is where the gradient "
                "on the support data vanishes, and only their Hessian says how it moves with θ."
            )
        start, (_, *values) = inner.start(meta), _values(inner, meta, support)
        ends = zip(values, support, strict=True)
        return start, *(_linked(start, end, solve, end, data) for end, data in ends)

    return adjoint


def anchored(inner: InnerLoop, iterates: Iterates) -> InnerLoop:
    """The same derivatives, but the values of iterates computed on other data."""

    def step(meta: Meta, params: Params, data: Data, k: int) -> Params:
        estimate = inner.step(meta, params, data, k)
        return tree.map(lambda e, p: e + (p - e).detach(), estimate, iterates[k + 1])

    return InnerLoop(inner.start, step)


def _values(inner: InnerLoop, meta: Meta, support: tuple[Data, ...]) -> Iterates:
    """The iterates without a graph."""
    return adapt(inner, tree.map(lambda leaf: leaf.detach(), meta), support)


def _gradient(
    loss: Callable[[Params, Data], Tensor], params: Params, data: Data
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Parameters as one vector w [P], and ∇L as a function of it, [P] -> [P]."""
    w, unravel = tree.ravel(params)
    return w, torch.func.grad(lambda w: loss(unravel(w), data))


def _linked(start: Params, end: Params, product: Callable[..., Tensor], *context: Data) -> Params:
    """`end`, with a derivative with respect to `start` that is symmetric: J = Jᵀ.

    Args:
        start, end: without a graph in `end`; that of `start` is continued.
        product: (v [P], *context) -> J v [P], in the order of `tree.ravel`.
        context: trees of tensors that have no graph.
    """
    x, unravel = tree.ravel(start)

    def flat_product(v: Tensor, *leaves: Tensor) -> Tensor:
        remaining = iter(leaves)
        return product(v, *tree.map(lambda _: next(remaining), context))

    return unravel(_Linked.apply(flat_product, x, tree.ravel(end)[0], *tree.leaves(context)))


class _Linked(torch.autograd.Function):
    """(x, value) -> value, with the derivative J of `_linked` with respect to x.

    All tensors are arguments, so that `vmap` finds them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(product: Callable[..., Tensor], x: Tensor, value: Tensor, *context: Tensor):
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.product, _, _, *context = inputs
        ctx.save_for_backward(*context)

    @staticmethod
    def backward(ctx: Any, v: Tensor):
        # J v, whose own derivative with respect to v is J again: `fisher_product` pushes with it.
        context = ctx.saved_tensors
        pulled = _Linked.apply(ctx.product, v, ctx.product(v.detach(), *context), *context)
        return None, pulled, None, *(None for _ in context)


def _require_positive(**sizes: float | None) -> None:
    for name, size in sizes.items():
        if size is not None and not size > 0:
            raise ConfigError(f"{name} must be positive, got {size}.")
