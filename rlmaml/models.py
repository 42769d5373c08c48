"""Models: ordinary `nn.Module`s that return one of our distributions.

A policy, a regression and a classification are the same thing: a Gaussian or a Categorical given
the input. Bring your own: any module whose `forward(inputs [..., *x])` returns a `Gaussian` or a
`Categorical` with the same leading shape can be meta-trained. It must be a pure function of its
parameters and input (no running statistics, no dropout), because the library calls it through
`functional_call` with parameters of its choosing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import gymnasium
import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlmaml.distributions import Categorical, Distribution, Gaussian
from rlmaml.text import BagOfEmbeddings, TextConfig, TextTransformer
from rlmaml.types import Params, Policy, Referenced

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


@dataclass(frozen=True)
class PolicyConfig:
    """The shape of a multilayer perceptron."""

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


class RegressionMLP(nn.Module):
    """A regression: a Gaussian of standard deviation 1 whose mean is an MLP of the input."""

    def __init__(
        self, input_size: int, output_size: int, config: PolicyConfig | None = None
    ) -> None:
        super().__init__()
        self.mean = mlp(input_size, output_size, config or PolicyConfig())

    def forward(self, inputs: Tensor) -> Gaussian:
        """inputs [..., X] -> Gaussian over [..., Y]."""
        mean = self.mean(inputs)
        return Gaussian(mean, torch.zeros_like(mean))


@dataclass(frozen=True)
class ConvConfig:
    """The shape of a convolutional classifier (Vinyals et al. 2016)."""

    blocks: int = 4
    """Blocks of 3x3 convolution, batch norm, ReLU and downsampling by 2."""
    filters: int = 64
    """Channels of every block."""
    downsample: Literal["pool", "stride"] = "pool"
    """Max-pooling, which rounds sizes down, or a stride in the convolution, which rounds up."""
    batch_norm: Literal["transductive", "support"] = "transductive"
    """Where the query examples' statistics come from: all of them together, as in the MAML paper's
    code, so that each prediction sees the other queries; or the support examples alone. The model
    follows its inputs: in Python `ExampleSampler(reference=True)` makes it the latter."""

    def __post_init__(self) -> None:
        for name in ("blocks", "filters"):
            if getattr(self, name) < 1:
                raise ValueError(f"conv.{name} must be at least 1, got {getattr(self, name)}.")


class ConvClassifier(nn.Module):
    """Blocks of convolution, batch norm, ReLU and downsampling, and a linear layer of logits.

    Batch norm has no running statistics: it takes those of the inputs it is called with, or, if
    called with `Referenced` inputs, of their reference.

    Args:
        shape: of an input, [C, height, width].
        num_classes: N of N-way.

    Raises:
        ValueError: the images are too small to be halved that often.
    """

    def __init__(
        self, shape: tuple[int, int, int], num_classes: int, config: ConvConfig | None = None
    ) -> None:
        super().__init__()
        config = config or ConvConfig()
        channels, *size = shape
        pool = config.downsample == "pool"
        blocks: list[nn.Module] = []
        for _ in range(config.blocks):
            blocks.append(_ConvBlock(channels, config.filters, pool))
            channels = config.filters
            size = [length // 2 if pool else (length + 1) // 2 for length in size]
        if not all(size):
            raise ValueError(
                f"Images of {shape[1]} x {shape[2]} cannot be halved {config.blocks} times by "
                "pooling: use conv.downsample stride or fewer conv.blocks."
            )
        self.blocks = nn.ModuleList(blocks)
        self.logits = nn.Linear(channels * size[0] * size[1], num_classes)

    def forward(self, inputs: Tensor | Referenced) -> Categorical:
        """inputs [..., C, height, width] -> Categorical over [...]."""
        reference = 0
        if isinstance(inputs, Referenced):
            reference = len(inputs.reference)
            inputs = torch.cat([inputs.reference, inputs.inputs])
        leading = inputs.shape[:-3]
        x = inputs.reshape(-1, *inputs.shape[-3:])
        for block in self.blocks:
            x = block(x, reference or len(x))
        logits = self.logits(x.flatten(1)).view(*leading, -1)
        return Categorical(logits[reference:])


class _ConvBlock(nn.Module):
    def __init__(self, channels: int, filters: int, pool: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, filters, 3, stride=1 if pool else 2, padding=1)
        nn.init.xavier_uniform_(self.convolution.weight)
        nn.init.zeros_(cast(Tensor, self.convolution.bias))
        self.norm = _BatchNorm(filters)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor, reference: int) -> Tensor:
        return self.pool(self.norm(self.convolution(x), reference).relu())


class _BatchNorm(nn.Module):
    """Written out: torch's own cannot take its statistics from a part of what it normalises."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, reference: int) -> Tensor:
        """x [B, C, h, w], normalised by the statistics of its first `reference` rows."""
        variance, mean = torch.var_mean(x[:reference], (0, 2, 3), correction=0)
        scale = self.weight * (variance + 1e-5).rsqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


def policy_for(
    observation_shape: tuple[int, ...], actions: gymnasium.Space, config: PolicyConfig
) -> GaussianMLP | CategoricalMLP:
    """The policy network for observations of a shape and an action space.

    Raises:
        ValueError: the observations or the actions are no vectors.
    """
    size = _length(observation_shape)
    if isinstance(actions, gymnasium.spaces.Discrete):
        return CategoricalMLP(size, int(actions.n), config)
    return GaussianMLP(size, _length(actions.shape), config)


def predictor_for(
    input_shape: tuple[int, ...],
    outputs: gymnasium.Space,
    config: PolicyConfig,
    conv: ConvConfig,
    text: TextConfig | None = None,
    num_tokens: int | None = None,
) -> RegressionMLP | CategoricalMLP | ConvClassifier | BagOfEmbeddings | TextTransformer:
    """The network for labelled examples: images [C, height, width] or texts to classes, or vectors.

    Args:
        input_shape: of one input.
        outputs: Discrete where targets are classes, otherwise a Box of them.
        config: of the network for vectors.
        conv: of that for images.
        text: of that for texts.
        num_tokens: where inputs are token ids, how many there are (`rlmaml.text.token_count`).

    Raises:
        ValueError: the inputs are neither vectors nor images or texts to be classified.
    """
    if num_tokens is not None:
        if not isinstance(outputs, gymnasium.spaces.Discrete):
            raise ValueError(
                f"Token ids are for classification, but the outputs are {outputs}: make them a "
                "Discrete, or the inputs floats."
            )
        text = text or TextConfig()
        if text.model == "bag":
            return BagOfEmbeddings(num_tokens, int(outputs.n), text)
        return TextTransformer(num_tokens, _length(input_shape), int(outputs.n), text)
    if not isinstance(outputs, gymnasium.spaces.Discrete):
        return RegressionMLP(_length(input_shape), _length(outputs.shape), config)
    if len(input_shape) == 3:
        return ConvClassifier(input_shape, int(outputs.n), conv)
    return CategoricalMLP(_length(input_shape), int(outputs.n), config)


def _length(shape: tuple[int, ...] | None) -> int:
    if shape is None or len(shape) != 1:
        raise ValueError(
            "The built-in networks take and give vectors, but the environment has a space of shape "
            f"{shape}. Wrap it (gymnasium.wrappers.FlattenObservation) or use the Python API with "
            "your own module."
        )
    return shape[0]


def norm_parameters(params: Params) -> list[str]:
    """The names of scales and shifts of normalisation: of modules called norm, bn2 or the like."""
    pattern = r"(.*[._])?(batch_?)?(norm|bn)_?\d*\.(weight|bias)"
    return [name for name in params if re.fullmatch(pattern, name, re.IGNORECASE)]


def layers(params: Iterable[str]) -> list[str]:
    """The layers that make the outputs, the last one last: "mean.0", "mean.2", or just "logits".

    By their names, since the order of parameters does not survive a checkpoint: the layers of
    `mean` or `logits`, as the networks here call them, otherwise all. They must be numbered.

    Args:
        params: parameters by name.

    Raises:
        ValueError: the names do not tell.
    """
    found = [name.removesuffix(".weight") for name in params if name.endswith(".weight")]
    found = [layer for layer in found if layer.split(".")[0] in ("mean", "logits")] or found
    if len({re.sub(r"\d+", "#", layer) for layer in found}) != 1:
        raise ValueError(
            f"The names of the parameters ({', '.join(params)}) do not tell which layer is the "
            "first and which the last: name the parameters that are meant in the method's settings."
        )
    return sorted(found, key=lambda layer: [int(part) for part in re.findall(r"\d+", layer)])


def unit_axis(name: str) -> int:
    """The axis of a parameter along which its units lie: of embeddings of words and places the
    last, of weights (and of a norm's scales) the first."""
    return -1 if name in ("words.weight", "places") else 0


def head(params: Iterable[str], prefixes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names of the last layer's parameters, or of those that `prefixes` name.

    A Gaussian's `log_std` is of the last layer: like it, it makes outputs of what is before.

    Args:
        params: parameters by name.
        prefixes: names, whole or up to a dot.

    Raises:
        ValueError: there is none of that name, or the names do not tell which layer is the last.
    """

    def under(prefix: str) -> list[str]:
        return [name for name in params if name == prefix or name.startswith(prefix + ".")]

    for prefix in prefixes:
        if not under(prefix):
            raise ValueError(
                f"There is no parameter {prefix!r}: use {', '.join(params)}, or one of these up to "
                "a dot."
            )
    chosen = prefixes or (layers(params)[-1], "log_std")
    return tuple(name for name in params if any(name in under(prefix) for prefix in chosen))


@dataclass(frozen=True)
class Functional:
    """A module as a function of its parameters, a `Policy`."""

    module: nn.Module

    def __call__(self, params: Params, inputs: Any) -> Distribution:
        return functional_call(self.module, params, (inputs,))


def functional(model: nn.Module) -> Policy:
    """A module as a function of its parameters."""
    return Functional(model)


def parameters(model: nn.Module) -> Params:
    """A copy of a module's parameters, by name, cut off from the module."""
    if any(True for _ in model.buffers()):
        names = [name for name, _ in model.named_buffers()]
        raise ValueError(
            f"The model has buffers ({', '.join(names)}), which meta-learning would share "
            "silently between tasks. Make them parameters or constants."
        )
    return {name: value.detach().clone() for name, value in model.named_parameters()}
