"""How an outer derivative comes back through adaptation.

An adjoint computes what `adapt` computes, φ_0 .. φ_K; it decides what dφ_k/dθ is taken to be.
Everything that differentiates the adaptation (the meta-gradient by pulling back, the trust
region's curvature by pushing forward and pulling back) goes through the same adjoint, so the
two Jacobian products are transposes of each other by construction.
"""

from __future__ import annotations

from rlmaml import tree
from rlmaml.inner import adapt
from rlmaml.types import Data, InnerLoop, Meta, Params, Path


def unrolled(
    inner: InnerLoop,
    meta: Meta,
    support: tuple[Data, ...],
    hessian: tuple[Data, ...] = (),
) -> Path:
    """The exact derivative: dφ_K/dθ = Π_k (I - α ∇²L(φ_k, D_k)) (Finn et al. 2017).

    With `hessian` data, ∇²L is taken on those instead: the update that Fallah, Mokhtari and
    Ozdaglar 2020 analyse (algorithm 1), with independent data for step, Hessian and outer loss.
    """
    if not hessian:
        return adapt(inner, meta, support)
    return adapt(anchored(inner, adapt(inner, meta, support)), meta, hessian)


def first_order(
    inner: InnerLoop,
    meta: Meta,
    support: tuple[Data, ...],
    hessian: tuple[Data, ...] = (),
) -> Path:
    """FO-MAML: dφ_k/dθ = I, the curvature of the inner loss ignored (Finn et al. 2017, 5.2)."""
    start = inner.start(meta)
    return tuple(
        tree.map(lambda s, p: s + (p - s).detach(), start, params)
        for params in adapt(inner, tree.map(lambda leaf: leaf.detach(), meta), support)
    )


def anchored(inner: InnerLoop, path: Path) -> InnerLoop:
    """The same derivatives, but the values of a path computed on other data."""

    def step(meta: Meta, params: Params, data: Data, k: int) -> Params:
        estimate = inner.step(meta, params, data, k)
        return tree.map(lambda e, p: e + (p - e).detach(), estimate, path[k + 1])

    return InnerLoop(inner.start, step)
