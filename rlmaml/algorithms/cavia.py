"""CAVIA, fast context adaptation (Zintgraf et al. 2019, section 3, algorithms 1 and 2).

    c_i = 0 - α ∇_c L_i(f(x, c; θ), D_i)|_{c=0},    min over θ of  Σ_i L_i(f(x, c_i; θ), D'_i)

Only context parameters c adapt, from 0. They are inputs to the network beside x (section 3.1,
equation 5): its first layer computes W x + V c + b, so that what a task changes is its bias, and V
is meta-learned. In a convolutional network they scale and shift features (section 3.3, FiLM): here
the batch norm of the last block but one, the third of four, γ + V_γ c and β + V_β c.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from zlib import crc32

import torch
from torch import Tensor

from rlmaml import models
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmSettings, Overrides, RunConfig
from rlmaml.distributions import Distribution
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.types import Inputs, Meta, Params, Policy

CONTEXT, ENTRY = "context", "context@"
"""The name of c among adapted parameters, and what V's have before that of what they shift."""


class CAVIA(Algorithm):
    """MAML whose inner steps move context parameters alone. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {"contexts": 1_000_000}

        contexts: int = 5
        """The number of context parameters."""
        shifts: tuple[str, ...] = ()
        """Names of the parameters that the context shifts; empty is the first layer's bias, or the
        scale and bias of a batch norm (the last but one)."""

        def __post_init__(self) -> None:
            if self.contexts < 1:
                raise ConfigError(
                    f"algorithm_settings.contexts must be at least 1, got {self.contexts}."
                )

    settings: Settings

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        return {"inner.step_size": 1.0}  # as in the paper

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        return {"algorithm_settings.contexts": (2, 5, 10)}

    def init_meta(self, params: Params) -> Meta:
        """{"params": ..., "context": V of each parameter that c shifts, [*shape, C]}.

        V is drawn as a first layer's weights are (Glorot and Bengio 2010), by the initial
        parameters, so that a run's seed decides it.
        """
        if CONTEXT in params:
            raise ConfigError(
                f"The network has a parameter {CONTEXT}, CAVIA's own name: rename it."
            )
        names = self.settings.shifts or entry(params)
        count = self.settings.contexts
        drawn = b"".join(value.detach().cpu().numpy().tobytes() for value in params.values())
        rng = generator(crc32(drawn), 0)
        context = {}
        for name in names:
            if name not in params:
                raise ConfigError(
                    f"algorithm_settings.shifts names {name!r}, which is no parameter: use "
                    f"{', '.join(params)}."
                )
            like = params[name]
            bound = math.sqrt(6 / (count + like.numel()))
            weights = torch.from_numpy(rng.uniform(-bound, bound, (*like.shape, count)))
            context[name] = weights.to(like)
        return {"params": params, "context": context}

    def start(self, meta: Meta) -> Params:
        """φ_0: the network's parameters, c = 0, and V."""
        entries = {ENTRY + name: weights for name, weights in meta["context"].items()}
        zero = next(iter(entries.values())).new_zeros(self.settings.contexts)
        return {**meta["params"], CONTEXT: zero, **entries}

    def adapts(self, params: Params) -> Iterable[str]:
        return (CONTEXT,)

    def network(self, params: Params) -> Params:
        """The network with V c in it."""
        plain = {
            name: value
            for name, value in params.items()
            if name != CONTEXT and not name.startswith(ENTRY)
        }
        shifts: dict[str, Tensor] = {
            name: plain[name] + params[ENTRY + name] @ params[CONTEXT]
            for name in plain
            if ENTRY + name in params
        }
        return {**plain, **shifts}

    def wrap(self, policy: Policy) -> Policy:
        return partial(self._in_context, policy)

    def _in_context(self, policy: Policy, params: Params, inputs: Inputs) -> Distribution:
        return policy(self.network(params), inputs)


def entry(params: Collection[str]) -> tuple[str, ...]:
    """The names of what the context shifts: a batch norm's two, or the bias of the first layer that
    has one.

    Raises:
        ConfigError: names that do not tell, or no bias.
    """
    norms = sorted(
        (int(match[2]), match[1])
        for name in params
        if (match := re.fullmatch(r"(.*?(\d+)\.norm)\.weight", name))
    )
    if norms:
        norm = norms[max(len(norms) - 2, 0)][1]
        return f"{norm}.weight", f"{norm}.bias"
    biases = [f"{layer}.bias" for layer in models.layers(params)]
    learned = [bias for bias in biases if bias in params]
    if not learned:
        raise ConfigError(
            f"The network has no bias to learn ({', '.join(params)}) that the context could shift: "
            "name a parameter in algorithm_settings.shifts."
        )
    return (learned[0],)
