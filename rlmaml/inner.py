"""The only inner loop there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.types import Data, InnerLoop, Iterates, Meta, Params


def gradient_descent(
    loss: Callable[[Params, Data], Tensor],
    step_size: float,
    adapts: Callable[[Params], Iterable[str]] = iter,
) -> InnerLoop:
    """φ_{k+1} = φ_k - α ∇L(φ_k, D_k), from φ_0 = θ (Finn et al. 2017, equation 1).

    Args:
        loss: (params, one task's data) -> scalar.
        step_size: α, positive.
        adapts: which parameters are stepped on, by name; the gradient is taken for those alone, the
            others stay. All of them if not given.

    Raises:
        ConfigError: a size that is not positive.
    """
    if not step_size > 0:
        raise ConfigError(f"The inner step size must be positive, got {step_size}.")

    def start(meta: Meta) -> Params:
        return meta["params"]

    def step(meta: Meta, params: Params, data: Data, k: int) -> Params:
        def of_part(part: Params) -> Tensor:
            return loss({**params, **part}, data)

        part = {name: params[name] for name in adapts(params)}
        moved = tree.map(lambda p, g: p - step_size * g, part, tree.grad(of_part)(part))
        return {**params, **moved}

    return InnerLoop(start, step)


def with_later_steps(
    inner: InnerLoop,
    share: float,
    trained: int = 1,
    adapts: Callable[[Params], Iterable[str]] = iter,
) -> InnerLoop:
    """An inner loop whose later steps go a share of their way, whatever a step is.

    Args:
        inner: the loop.
        share: of the way from φ_k to φ_{k+1}, positive.
        trained: steps before those, K of training.
        adapts: the parameters that this is of, by name; all of them if not given.

    Raises:
        ConfigError: a share that is not positive.
    """
    if not share > 0:
        raise ConfigError(f"The share of later inner steps must be positive, got {share}.")

    def step(meta: Meta, params: Params, data: Data, k: int) -> Params:
        moved = inner.step(meta, params, data, k)
        if k < trained or share == 1:
            return moved
        of_way = {name: torch.lerp(params[name], moved[name], share) for name in adapts(params)}
        return {**moved, **of_way}

    return InnerLoop(inner.start, step)


def adapt(inner: InnerLoop, meta: Meta, support: tuple[Data, ...]) -> Iterates:
    """Adapt to one task: one inner step on each entry of `support`.

    Returns:
        (φ_0, .., φ_K), K = len(support). Differentiable in `meta`.
    """
    iterates = [inner.start(meta)]
    for k, data in enumerate(support):
        iterates.append(inner.step(meta, iterates[-1], data, k))
    return tuple(iterates)
