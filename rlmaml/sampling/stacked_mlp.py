"""Actions of N policies on B observations each, step after step of a rollout.

A step's networks are too small for `vmap` and module calls not to matter: of the perceptrons of
`rlmaml.models` only the matrix products are left here, into memory that is allocated once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlmaml.distributions import Categorical, Distribution, Gaussian
from rlmaml.models.functional import Functional
from rlmaml.models.mlp import (
    BernoulliMLP,
    CategoricalMLP,
    GaussianMLP,
    MultiCategoricalMLP,
    is_as_made,
)
from rlmaml.objective import over_tasks
from rlmaml.types import Params, Policy

IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: torch.tanh_,
    nn.ReLU: torch.relu_,
    nn.ELU: lambda x: nn.functional.elu(x, inplace=True),
}


def actor(policy: Policy, params: Params) -> Callable[[Tensor], Distribution]:
    """A function from observations [N, B, *obs] to distributions, while the parameters stay.

    Args:
        policy: (params, observations) -> distribution.
        params: leaves [N, ...], policy i's for the observations i. Nothing is differentiated.
    """
    module = policy.module if isinstance(policy, Functional) else None
    if module is not None and any(name not in params for name, _ in module.named_parameters()):
        module = None  # some are frozen, and not stacked
    # These classes and no subclass of theirs, which may have a forward of its own.
    if type(module) is GaussianMLP and is_as_made(module, module.mean):
        mean = _Perceptrons(module.mean, "mean", params)
        log_std = params["log_std"].clamp(min=module.min_log_std).unsqueeze(1)

        def gaussian(observations: Tensor) -> Gaussian:
            output = mean(observations)
            return Gaussian(output, log_std.expand_as(output))

        return gaussian
    if type(module) is CategoricalMLP and is_as_made(module, module.logits):
        logits = _Perceptrons(module.logits, "logits", params)
        return lambda observations: Categorical(logits(observations))
    if isinstance(module, MultiCategoricalMLP | BernoulliMLP):
        kind = type(module)
        if kind in (MultiCategoricalMLP, BernoulliMLP) and is_as_made(module, module.logits):
            outputs, of = _Perceptrons(module.logits, "logits", params), module.of
            return lambda observations: of(outputs(observations))
    stacked = over_tasks(policy)
    return lambda observations: stacked(params, observations)


class _Perceptrons:
    """N multilayer perceptrons: [N, B, inputs] -> [N, B, outputs]."""

    def __init__(self, network: nn.Sequential, name: str, params: Params) -> None:
        # Transposed once: the products of every step read rows.
        *self._hidden, self._last = [
            (params[f"{name}.{i}.weight"].mT.contiguous(), params[f"{name}.{i}.bias"].unsqueeze(1))
            for i in range(0, len(network), 2)
        ]
        self._activations = [IN_PLACE[type(layer)] for layer in list(network)[1::2]]
        self._memory: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if not self._memory:
            widths = [weight.shape[-1] for weight, _ in self._hidden]
            self._memory = [x.new_empty(*x.shape[:2], width) for width in widths]
        layers = zip(self._hidden, self._activations, self._memory, strict=True)
        for (weight, bias), activation, out in layers:
            x = activation(torch.baddbmm(bias, x, weight, out=out))
        weight, bias = self._last
        return torch.baddbmm(bias, x, weight)
