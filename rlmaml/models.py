"""Policies: ordinary `nn.Module`s that return one of our distributions.

Bring your own: any module whose `forward(observations [..., *obs])` returns a `Gaussian` or a
`Categorical` with the same leading shape can be meta-trained. It must be a pure function of
its parameters and input (no running statistics, no dropout), because the library calls it
through `functional_call` with parameters of its choosing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlmaml.distributions import Categorical, Distribution, Gaussian
from rlmaml.types import Params, Policy

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


@dataclass(frozen=True)
class PolicyConfig:
    """The shape of a multilayer-perceptron policy."""

    hidden: tuple[int, ...] = (100, 100)
    """Width of each hidden layer."""
    activation: Literal["tanh", "relu", "elu"] = "relu"
    """Nonlinearity of the hidden layers."""
    output_gain: float = 1.0
    """Factor on the last layer's initial weights; small means that all actions begin near zero."""
    init_log_std: float = 0.0
    """Logarithm of the action standard deviation at the start (Gaussian policies)."""
    min_log_std: float = -13.8
    """The log standard deviation never falls below this (Gaussian policies)."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"policy.hidden needs widths of at least 1, got {self.hidden}.")


def mlp(inputs: int, outputs: int, config: PolicyConfig) -> nn.Sequential:
    """Linear layers with the activation between them; Xavier-uniform weights, zero biases."""
    sizes = [inputs, *config.hidden, outputs]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[config.activation]()]
    with torch.no_grad():
        layers[-2].weight *= config.output_gain  # pyright: ignore[reportOperatorIssue]
    return nn.Sequential(*layers[:-1])


class GaussianMLP(nn.Module):
    """A Gaussian whose mean is an MLP of the observation and whose log std is a parameter."""

    def __init__(
        self, observation_size: int, action_size: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.min_log_std = config.min_log_std
        self.mean = mlp(observation_size, action_size, config)
        self.log_std = nn.Parameter(torch.full((action_size,), float(config.init_log_std)))

    def forward(self, observations: Tensor) -> Gaussian:
        """observations [..., O] -> Gaussian over [..., A]."""
        mean = self.mean(observations)
        return Gaussian(mean, self.log_std.clamp(min=self.min_log_std).expand_as(mean))


class CategoricalMLP(nn.Module):
    """A categorical distribution over n actions whose logits are an MLP of the observation."""

    def __init__(
        self, observation_size: int, num_actions: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.logits = mlp(observation_size, num_actions, config)

    def forward(self, observations: Tensor) -> Categorical:
        """observations [..., O] -> Categorical over [...]."""
        return Categorical(self.logits(observations))


def functional(model: nn.Module) -> Policy:
    """A module as a function of its parameters."""

    def policy(params: Params, observations: Tensor) -> Distribution:
        return functional_call(model, params, (observations,))

    return policy


def parameters(model: nn.Module) -> Params:
    """A copy of a module's parameters, by name, cut off from the module."""
    if any(True for _ in model.buffers()):
        names = [name for name, _ in model.named_buffers()]
        raise ValueError(
            f"The policy has buffers ({', '.join(names)}), which meta-learning would share "
            "silently between tasks. Make them parameters or constants."
        )
    return {name: value.detach().clone() for name, value in model.named_parameters()}
