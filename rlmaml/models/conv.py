"""Convolutional classifiers with batch norm that keeps no running statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from rlmaml.distributions import Categorical
from rlmaml.errors import ConfigError
from rlmaml.torch_state import plain_defaults
from rlmaml.types import InputsWithStatistics
from rlmaml.values import check_values


@dataclass(frozen=True)
class ConvConfig:
    """The shape of a convolutional classifier (Vinyals et al. 2016)."""

    limits: ClassVar[dict[str, float]] = {"blocks": 100, "filters": 100_000}

    blocks: int = 4
    """Blocks of 3x3 convolution, batch norm, ReLU and downsampling by 2."""
    filters: int = 64
    """Channels of every block."""
    downsample: Literal["pool", "stride"] = "pool"
    """Max-pooling, which rounds sizes down, or a stride in the convolution, which rounds up."""
    batch_norm: Literal["transductive", "support"] = "transductive"
    """Source of the query examples' statistics: all of them together, as in the MAML paper's code,
    so that each prediction sees the other queries; or the support examples alone. The model
    follows its inputs: in Python `ExampleSampler(reference=True)` makes it the latter."""

    def __post_init__(self) -> None:
        check_values(self, "conv.")
        for name in ("blocks", "filters"):
            if getattr(self, name) < 1:
                raise ConfigError(f"conv.{name} must be at least 1, got {getattr(self, name)}.")


class ConvClassifier(nn.Module):
    """Blocks of convolution, batch norm, ReLU and downsampling, and a linear layer of logits.

    Batch norm has no running statistics: it takes those of the inputs it is called with, or, if
    called with `InputsWithStatistics` inputs, of their reference.

    Args:
        shape: of an input, [C, height, width].
        num_classes: N of N-way.

    Raises:
        ConfigError: images too small to be halved that often.
    """

    @plain_defaults()
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
            raise ConfigError(
                f"Images of {shape[1]} x {shape[2]} cannot be halved {config.blocks} times by "
                "pooling: use conv.downsample stride or fewer conv.blocks."
            )
        self.blocks = nn.ModuleList(blocks)
        self.logits = nn.Linear(channels * size[0] * size[1], num_classes)

    def forward(self, inputs: Tensor | InputsWithStatistics) -> Categorical:
        """inputs [..., C, height, width] -> Categorical over [...]."""
        reference = 0
        if isinstance(inputs, InputsWithStatistics):
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
    """Written out: torch's own cannot take its statistics from a part of what it normalizes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, reference: int) -> Tensor:
        """x [B, C, h, w], normalized by the statistics of its first `reference` rows."""
        variance, mean = torch.var_mean(x[:reference], (0, 2, 3), correction=0)
        scale = self.weight * (variance + 1e-5).rsqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]
