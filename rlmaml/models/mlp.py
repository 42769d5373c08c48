"""Multilayer perceptrons: policies for each kind of action, and regressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rlmaml.distributions import (
    NO_CHOICE,
    Bernoullis,
    Categorical,
    Gaussian,
    MultiCategorical,
)
from rlmaml.errors import ConfigError
from rlmaml.torch_state import plain_defaults
from rlmaml.values import check_values

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


@dataclass(frozen=True)
class PolicyConfig:
    """The shape of a multilayer perceptron."""

    limits: ClassVar[dict[str, float]] = {
        "hidden": 1_000_000,
        "output_gain": 1e6,
        "init_log_std": 40.0,
        "min_log_std": 1000.0,
    }

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
        check_values(self, "policy.")
        if any(width < 1 for width in self.hidden):
            raise ConfigError(f"policy.hidden needs widths of at least 1, got {self.hidden}.")


@plain_defaults()
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


def is_as_made(module: nn.Module, network: nn.Sequential) -> bool:
    """True if a module's network is as `mlp` makes it, and nothing was hooked into it since."""
    kinds = [type(layer) for layer in network]
    layers = [layer for layer in network if type(layer) is nn.Linear]
    return (
        kinds[::2] == [nn.Linear] * len(layers)
        and len(kinds) == 2 * len(layers) - 1
        and all(kind in ACTIVATIONS.values() for kind in kinds[1::2])
        and all(layer.bias is not None for layer in layers)
        and all(getattr(layer, "alpha", 1.0) == 1.0 for layer in network)
        and not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    )


class GaussianMLP(nn.Module):
    """A Gaussian whose mean is an MLP of the observation and whose log std is a parameter."""

    @plain_defaults()
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

    @plain_defaults()
    def __init__(
        self, observation_size: int, num_actions: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        config = config or PolicyConfig()
        self.logits = mlp(observation_size, num_actions, config)

    def forward(self, observations: Tensor) -> Categorical:
        """observations [..., O] -> Categorical over [...]."""
        return Categorical(self.logits(observations))


class MultiCategoricalMLP(nn.Module):
    """A product of categorical distributions, the logits of all of which are one MLP's outputs.

    Args:
        observation_size: O.
        sizes: number of choices in each of the D dimensions of an action.
        config: of the MLP.
    """

    def __init__(
        self, observation_size: int, sizes: Sequence[int], config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.logits = mlp(observation_size, sum(sizes), config or PolicyConfig())

    def forward(self, observations: Tensor) -> MultiCategorical:
        """observations [..., O] -> MultiCategorical over [..., D]."""
        return self.of(self.logits(observations))

    def of(self, outputs: Tensor) -> MultiCategorical:
        """The distribution of logits [..., Σ sizes], dimension after dimension."""
        most = max(self.sizes)
        padded = [
            nn.functional.pad(part, (0, most - part.shape[-1]), value=NO_CHOICE)
            for part in outputs.split(self.sizes, -1)
        ]
        return MultiCategorical(torch.stack(padded, -2))


class BernoulliMLP(nn.Module):
    """A product of Bernoulli distributions whose log-odds are an MLP of the observation."""

    def __init__(
        self, observation_size: int, num_bits: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        self.logits = mlp(observation_size, num_bits, config or PolicyConfig())

    def forward(self, observations: Tensor) -> Bernoullis:
        """observations [..., O] -> Bernoullis over [..., D]."""
        return self.of(self.logits(observations))

    def of(self, outputs: Tensor) -> Bernoullis:
        """The distribution of log-odds [..., D]."""
        return Bernoullis(outputs)


class RegressionMLP(nn.Module):
    """A regression: a Gaussian of standard deviation 1 whose mean is an MLP of the input."""

    @plain_defaults()
    def __init__(
        self, input_size: int, output_size: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        self.mean = mlp(input_size, output_size, config or PolicyConfig())

    def forward(self, inputs: Tensor) -> Gaussian:
        """inputs [..., X] -> Gaussian over [..., Y]."""
        mean = self.mean(inputs)
        return Gaussian(mean, torch.zeros_like(mean))
