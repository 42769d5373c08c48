"""Action distributions as NamedTuples, so that `vmap`, `grad` and `vjp` see their parameters.

`torch.distributions` validates with data-dependent branches and is opaque to `torch.func`;
these are trees of tensors. Leading shapes [...] are arbitrary. All of them can:

    sample(noise)     a draw, from noise made ahead by `noise(rng, shape)`
    mode()            the likeliest action
    log_prob(action)  [...]
    entropy()         [...]
    kl(other)         [...]  KL(self ‖ other)
    fisher(tangent)   the Fisher information matrix of the parameters times a tangent

`fisher` is the Hessian of KL(old ‖ new) in the parameters of `new`, taken at new = old.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlmaml.errors import ConfigError


class Gaussian(NamedTuple):
    """A diagonal Gaussian over actions [..., A]."""

    mean: Tensor  # [..., A]
    log_std: Tensor  # [..., A]

    def noise(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Standard normal noise [*shape, A] for `sample`."""
        return rng.standard_normal((*shape, self.mean.shape[-1]), dtype=np.float32)

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        standardized = (action - self.mean) * (-self.log_std).exp()
        return (-0.5 * standardized**2 - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, other: Gaussian) -> Tensor:
        ratio = (2 * (self.log_std - other.log_std)).exp()
        shift = ((self.mean - other.mean) * (-other.log_std).exp()) ** 2
        return (other.log_std - self.log_std + 0.5 * (ratio + shift - 1)).sum(-1)

    def fisher(self, tangent: Gaussian) -> Gaussian:
        return Gaussian(tangent.mean * (-2 * self.log_std).exp(), 2 * tangent.log_std)


class Categorical(NamedTuple):
    """A distribution over the actions 0 .. n-1, by unnormalized logits [..., n]."""

    logits: Tensor  # [..., n]

    def noise(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Gumbel noise [*shape, n]: the largest of logits + noise is a draw (Gumbel-max)."""
        return rng.gumbel(size=(*shape, self.logits.shape[-1])).astype(np.float32)

    def sample(self, noise: Tensor) -> Tensor:
        return (self.logits + noise).argmax(-1)

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        return log_p.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        log_p, log_q = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def fisher(self, tangent: Categorical) -> Categorical:
        p = self.logits.softmax(-1)
        centered = tangent.logits - (p * tangent.logits).sum(-1, keepdim=True)
        return Categorical(p * centered)


class MultiCategorical(NamedTuple):
    """A product of D Categoricals, over actions [..., D] that count from 0 in each dimension.

    Dimensions with fewer choices than n have `NO_CHOICE` for the others: of probability 0, and
    finite, so that products of the two are 0 and have derivatives.
    """

    logits: Tensor  # [..., D, n]

    def noise(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Gumbel noise [*shape, D, n], as of a Categorical."""
        return rng.gumbel(size=(*shape, *self.logits.shape[-2:])).astype(np.float32)

    def sample(self, noise: Tensor) -> Tensor:
        return self._each.sample(noise)

    def mode(self) -> Tensor:
        return self._each.mode()

    def log_prob(self, action: Tensor) -> Tensor:
        return self._each.log_prob(action).sum(-1)

    def entropy(self) -> Tensor:
        return self._each.entropy().sum(-1)

    def kl(self, other: MultiCategorical) -> Tensor:
        return self._each.kl(other._each).sum(-1)

    def fisher(self, tangent: MultiCategorical) -> MultiCategorical:
        return MultiCategorical(*self._each.fisher(tangent._each))

    @property
    def _each(self) -> Categorical:
        """One distribution for each dimension, [..., D]."""
        return Categorical(self.logits)


NO_CHOICE = -1e9
"""The logit of what cannot be chosen."""


class Bernoullis(NamedTuple):
    """A product of D Bernoullis, over actions [..., D] of 0 and 1, by log-odds."""

    logits: Tensor  # [..., D]

    def noise(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Logistic noise [*shape, D]: logits + noise is above 0 with the probability of a 1."""
        return rng.logistic(size=(*shape, self.logits.shape[-1])).astype(np.float32)

    def sample(self, noise: Tensor) -> Tensor:
        return (self.logits + noise > 0).long()

    def mode(self) -> Tensor:
        return (self.logits > 0).long()

    def log_prob(self, action: Tensor) -> Tensor:
        return (action * self.logits - softplus(self.logits)).sum(-1)

    def entropy(self) -> Tensor:
        return (softplus(self.logits) - self.logits.sigmoid() * self.logits).sum(-1)

    def kl(self, other: Bernoullis) -> Tensor:
        p, difference = self.logits.sigmoid(), self.logits - other.logits
        return (p * difference - softplus(self.logits) + softplus(other.logits)).sum(-1)

    def fisher(self, tangent: Bernoullis) -> Bernoullis:
        p = self.logits.sigmoid()
        return Bernoullis(p * (1 - p) * tangent.logits)


Distribution = Gaussian | Categorical | MultiCategorical | Bernoullis


def like(distribution: Distribution, fields: Iterable[Tensor]) -> Distribution:
    """A distribution of the same kind with other fields, in their order."""
    return type(distribution)(*fields)


def kl(old: Distribution, new: Distribution) -> Tensor:
    """KL(old ‖ new) [...] of two distributions of one kind, in nats."""
    return old.kl(cast(Any, new))


def fisher(distribution: Distribution, tangent: Distribution) -> Distribution:
    """The Fisher information matrix of the parameters times a tangent, of the same kind."""
    return distribution.fisher(cast(Any, tangent))


def stack(distributions: Sequence[Distribution]) -> Distribution:
    """Stack distributions of one kind along a new leading dimension."""
    kind = type(distributions[0])
    return kind(*(torch.stack(field) for field in zip(*distributions, strict=True)))


def is_distribution(output: object) -> bool:
    """Whether this is a tree of tensors with the methods of a distribution."""
    return isinstance(output, tuple) and hasattr(output, "log_prob")


def required(output: Any) -> Any:
    """What a policy returned, if it is a distribution.

    Raises:
        ConfigError: if it is none.
    """
    if not is_distribution(output):
        raise ConfigError(f"The network returns {described(output)}. {advice(output)}")
    return output


def described(value: object) -> str:
    """A value in words."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor of shape {tuple(value.shape)} and type {kind}"
    if value is None:
        return "None"
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"a {module}{kind.__qualname__}"


def advice(output: object) -> str:
    """What a policy is to return in place of something that is no distribution."""
    if isinstance(output, torch.distributions.Distribution):
        return (
            "Return one of rlmaml.distributions, which torch.func can look into: for a Normal "
            "Gaussian(d.loc, d.scale.log()), for a Categorical Categorical(d.logits)."
        )
    return (
        "Return rlmaml.distributions.Gaussian(mean, log_std) or Categorical(logits); of a "
        "regression log_std is torch.zeros_like(mean)."
    )
