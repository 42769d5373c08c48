"""The only inner loop there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.types import Data, InnerLoop, Iterates, Meta, Params


def gradient_descent(
    loss: Callable[[Params, Data], Tensor],
    step_size: float,
    later_step_size: float | None = None,
    adapts: Callable[[Params], Iterable[str]] = iter,
) -> InnerLoop:
    """φ_{k+1} = φ_k - α ∇L(φ_k, D_k), from φ_0 = θ (Finn et al. 2017, equation 1).

    Args:
        loss: (params, one task's data) -> scalar.
        step_size: α, positive.
        later_step_size: α of the steps after the first; None is the same.
        adapts: which parameters are stepped on, by name; the gradient is taken for those alone, the
            others stay. All of them if not given.

    Raises:
        ConfigError: a size that is not positive.
    """
    sizes = step_size, step_size if later_step_size is None else later_step_size
    if not min(sizes) > 0:
        raise ConfigError(f"The inner step size must be positive, got {min(sizes)}.")

    def start(meta: Meta) -> Params:
        return meta["params"]

    def step(meta: Meta, params: Params, data: Data, k: int) -> Params:
        def of_part(part: Params) -> Tensor:
            return loss({**params, **part}, data)

        part = {name: params[name] for name in adapts(params)}
        size = sizes[min(k, 1)]
        moved = tree.map(lambda p, g: p - size * g, part, tree.grad(of_part)(part))
        return {**params, **moved}

    return InnerLoop(start, step)


def adapt(inner: InnerLoop, meta: Meta, support: tuple[Data, ...]) -> Iterates:
    """Adapt to one task: one inner step on each entry of `support`.

    Returns:
        (φ_0, .., φ_K), K = len(support). Differentiable in `meta`.
    """
    iterates = [inner.start(meta)]
    for k, data in enumerate(support):
        iterates.append(inner.step(meta, iterates[-1], data, k))
    return tuple(iterates)
