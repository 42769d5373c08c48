"""How N policies act on B observations each, step after step of a rollout.

A step's networks are too small for `vmap` and module calls not to matter: of the perceptrons of
`rlmaml.models` only the matrix products are left here, into memory that is allocated once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from rlmaml.distributions import Categorical, Distribution, Gaussian
from rlmaml.models import CategoricalMLP, Functional, GaussianMLP
from rlmaml.objective import over_tasks
from rlmaml.types import Params, Policy

IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: torch.tanh_,
    nn.ReLU: torch.relu_,
    nn.ELU: lambda x: nn.functional.elu(x, inplace=True),
}


def actor(policy: Policy, params: Params) -> Callable[[Tensor], Distribution]:
    """What policies make of observations [N, B, *obs], for as long as their parameters stay.

    Args:
        policy: (params, observations) -> distribution.
        params: leaves [N, ...], policy i's for the observations i.
    """
    module = policy.module if isinstance(policy, Functional) else None
    # These classes and no subclass of theirs, which may have a forward of its own.
    if type(module) is GaussianMLP:
        mean = _Perceptrons(module.mean, "mean", params)
        log_std = params["log_std"].clamp(min=module.min_log_std).unsqueeze(1)

        def gaussian(observations: Tensor) -> Gaussian:
            output = mean(observations)
            return Gaussian(output, log_std.expand_as(output))

        return gaussian
    if type(module) is CategoricalMLP:
        logits = _Perceptrons(module.logits, "logits", params)
        return lambda observations: Categorical(logits(observations))
    stacked = over_tasks(policy)
    return lambda observations: stacked(params, observations)


class _Perceptrons:
    """N multilayer perceptrons: [N, B, inputs] -> [N, B, outputs]."""

    def __init__(self, network: nn.Sequential, name: str, params: Params) -> None:
        self._layers: list[tuple[Tensor, Tensor, Callable[[Tensor], Tensor] | None]] = []
        places = [i for i, layer in enumerate(network) if isinstance(layer, nn.Linear)]
        for i in places:
            after = IN_PLACE[type(network[i + 1])] if i != places[-1] else None
            # Transposed once: the products of every step read rows.
            weight = params[f"{name}.{i}.weight"].mT.contiguous()
            self._layers.append((weight, params[f"{name}.{i}.bias"].unsqueeze(1), after))
        self._hidden: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if not self._hidden:
            widths = [weight.shape[-1] for weight, *_ in self._layers[:-1]]
            self._hidden = [x.new_empty(*x.shape[:2], width) for width in widths]
        for (weight, bias, after), out in zip(self._layers, self._hidden, strict=False):
            x = cast(Callable, after)(torch.baddbmm(bias, x, weight, out=out))
        weight, bias, _ = self._layers[-1]
        return torch.baddbmm(bias, x, weight)
