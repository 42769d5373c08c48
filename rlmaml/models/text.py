"""Text classifiers: a bag of word embeddings, and a small transformer.

Both take token ids, 0 being padding, and are pure functions of their parameters: no dropout, no
buffers. They are written with operations that differentiate twice under `vmap`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from rlmaml.distributions import Categorical
from rlmaml.errors import ConfigError
from rlmaml.torch_state import plain_defaults
from rlmaml.values import check_values

PADDING = 0
"""The token id after the end of a text."""

_MOST = 10_000_000
_EPSILON = 1e-5


@dataclass(frozen=True)
class TextConfig:
    """The shape of a classifier of texts."""

    limits: ClassVar[dict[str, float]] = {
        "dimension": 100_000,
        "hidden": 1_000_000,
        "layers": 1000,
        "heads": 100_000,
        "feedforward": 1_000_000,
    }

    model: Literal["bag", "transformer"] = "bag"
    """The mean of the words' embeddings and a perceptron, which see no order, or blocks of
    self-attention and the mean of what comes out."""
    dimension: int = 64
    """Numbers of a word's embedding."""
    hidden: tuple[int, ...] = ()
    """Widths of the perceptron's hidden layers; with none it is a linear layer (bag)."""
    layers: int = 1
    """Blocks of self-attention (transformer)."""
    heads: int = 4
    """Attention heads of each block, which share the dimension (transformer)."""
    feedforward: int = 128
    """Width of the hidden layer in each block (transformer)."""

    def __post_init__(self) -> None:
        check_values(self, "text.")
        if any(width < 1 for width in self.hidden):
            raise ConfigError(f"text.hidden needs widths of at least 1, got {self.hidden}.")
        for name in ("dimension", "layers", "heads", "feedforward"):
            if getattr(self, name) < 1:
                raise ConfigError(f"text.{name} must be at least 1, got {getattr(self, name)}.")
        if self.model == "transformer" and self.dimension % self.heads:
            raise ConfigError(
                f"text.dimension must be a multiple of text.heads, got {self.dimension} and "
                f"{self.heads}."
            )


def token_count(space: gymnasium.Space) -> int | None:
    """The number of token ids of the inputs of a space; None if they are no sequences of those.

    Token ids are the integers of a Box of one axis, from 0 on.

    Raises:
        ConfigError: token ids without a bound that a table of embeddings could have.
    """
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        return None
    if not np.issubdtype(space.dtype, np.integer):
        return None
    low, high = int(space.low.min()), int(space.high.max())
    if low < 0 or high >= _MOST:
        raise ConfigError(
            f"Integer inputs are taken for token ids, from 0 to less than {_MOST}, but the space "
            f"goes from {low} to {high}: give it the ids there are, or floats if they are numbers."
        )
    return high + 1


class BagOfEmbeddings(nn.Module):
    """The mean of a text's word embeddings, then a perceptron to the logits.

    Args:
        num_tokens: ids that there are, the padding's included.
        num_classes: N of N-way.
        config: the shape.
    """

    @plain_defaults()
    def __init__(self, num_tokens: int, num_classes: int, config: TextConfig | None = None) -> None:
        super().__init__()
        config = config or TextConfig()
        self.words = nn.Embedding(num_tokens, config.dimension)
        sizes = [config.dimension, *config.hidden, num_classes]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [_linear(fan_in, fan_out), nn.GELU()]
        self.logits = nn.Sequential(*layers[:-1])

    def forward(self, tokens: Tensor) -> Categorical:
        """tokens [..., T], integers -> Categorical over [...]. Of nothing the mean is 0."""
        return Categorical(self.logits(_masked_mean(self.words(tokens), tokens != PADDING)))


class TextTransformer(nn.Module):
    """Pre-norm blocks of self-attention over the words, their mean, and a linear layer of logits.

    Args:
        num_tokens: ids that there are, the padding's included.
        length: tokens of a text at most; each position has an embedding.
        num_classes: N of N-way.
        config: the shape.
    """

    @plain_defaults()
    def __init__(
        self, num_tokens: int, length: int, num_classes: int, config: TextConfig | None = None
    ) -> None:
        super().__init__()
        config = config or TextConfig(model="transformer")
        self.words = nn.Embedding(num_tokens, config.dimension)
        self.places = nn.Parameter(0.1 * torch.randn(length, config.dimension))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = _Norm(config.dimension)
        self.logits = _linear(config.dimension, num_classes)

    def forward(self, tokens: Tensor) -> Categorical:
        """tokens [..., T], integers, T at most `length` -> Categorical over [...]."""
        present = tokens != PADDING
        x = self.words(tokens) + self.places[: tokens.shape[-1]]
        for block in self.blocks:
            x = block(x, present)
        return Categorical(self.logits(_masked_mean(self.norm(x), present)))


class _Block(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        size = config.dimension
        self.heads = config.heads
        self.before_attention, self.before_hidden = _Norm(size), _Norm(size)
        self.attention = _linear(size, 3 * size)
        self.output = _linear(size, size)
        self.hidden = _linear(size, config.feedforward)
        self.back = _linear(config.feedforward, size)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x [..., T, D], and which places are words, [..., T] -> [..., T, D]."""
        x = x + self.output(self._attend(self.before_attention(x), present))
        return x + self.back(gelu(self.hidden(self.before_hidden(x))))

    def _attend(self, x: Tensor, present: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # [..., heads, T, d]
            for part in self.attention(x).chunk(3, -1)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        # Finite, so that where there is nothing but padding the weights are no NaN.
        weights = scores.masked_fill(~present[..., None, None, :], -1e9).softmax(-1)
        return (weights @ value).transpose(-3, -2).flatten(-2)


class _Norm(nn.Module):
    """Layer norm over the last axis, as plain operations."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) * (variance + _EPSILON).rsqrt() * self.weight + self.bias


def _masked_mean(x: Tensor, present: Tensor) -> Tensor:
    """The mean of x [..., T, D] over the places that are words [..., T], [..., D]; or 0."""
    weights = present.to(x.dtype)
    return (x * weights[..., None]).sum(-2) / weights.sum(-1, keepdim=True).clamp(min=1)


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Xavier-uniform weights, zero biases."""
    linear = nn.Linear(fan_in, fan_out)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
