"""Bayesian MAML (Kim et al. 2018, algorithms 1 and 2): M networks, particles of a posterior.

    φ_m ← φ_m + ε/M Σ_j [ k(φ_j, φ_m) ∇log p(φ_j) + τ ∇_{φ_j} k(φ_j, φ_m) ],   k = exp(-‖·‖² / h)
    log p(φ) = -L(φ, D) - λ/2 ‖φ‖²

The inner step is Stein variational gradient descent (SVGD; Liu and Wang 2016, algorithm 1): the
particles share their gradients and repel one another. Each particle's start is meta-learned.
The outer loss is the chaser loss of algorithm 2 (sg stops the gradient),

    Σ_m ‖φ_m^K - sg(φ_m^{K+s})‖²,

where a leader goes on from the end φ^K for s steps that learn from the query data too; or it is the
query loss of what the particles predict together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import require_outer
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, Overrides, RunConfig
from rlmaml.distributions import Categorical, Distribution, Gaussian, like
from rlmaml.errors import ConfigError
from rlmaml.outer.base import OuterStep
from rlmaml.outer.optimizer import Optimizer
from rlmaml.rng import generator
from rlmaml.types import Data, Inputs, Iterates, Meta, MetaBatch, Params, Policy


class BayesianMAML(Algorithm):
    """MAML of M particles. Arguments as of `Algorithm`; φ_k and "params" have leaves [M, *shape].

    Of labeled examples every particle sees all, and what is predicted is the particles' mixture:
    of a regression a Gaussian of the mixture's mean and variance, of a classification the mean
    probabilities. Of episodes each particle plays its own: row i of the inputs, an episode, is
    acted by particle i mod M and no other particle's gradient sees it, so that B must be a multiple
    of M. (Alone in an environment, it is the first particle that acts.)
    """

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {
            "particles": 10_000,
            "leader_steps": 10_000,
            "prior": 1e6,
            "repulsion": 1e6,
        }

        particles: int = 5
        """Networks M. A step moves them by the M-th part of the sum of their gradients, weighted by
        nearness (itself 1, the median pair 1/M): rates are up to M times those of one network."""
        loss: Literal["query", "chaser"] = "query"
        """The outer loss: the query loss of the particles' mixture, or the distance of each
        particle to where some more steps, on the query data as well, would take it."""
        leader_steps: int = 1
        """Steps s that the leader of the chaser loss is ahead."""
        prior: float = 0.0
        """Precision λ of a Gaussian prior around zero, in units of the mean loss; 0 is flat."""
        repulsion: float = 0.1
        """Weight τ of the particles' repulsion. SVGD then draws from p^(1/τ), and L is a mean:
        1/B is the posterior of B examples if L is their negative log-likelihood; squared errors
        want 2σ²/B with noise σ. Of episodes it is the temperature of the return."""

        def __post_init__(self) -> None:
            for name, ok, want in (
                ("particles", self.particles >= 1, "at least 1"),
                ("leader_steps", self.leader_steps >= 1, "at least 1"),
                ("prior", self.prior >= 0, "zero or positive"),
                ("repulsion", self.repulsion >= 0, "zero or positive"),
            ):
                if not ok:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be {want}, got {getattr(self, name)}."
                    )

    settings: Settings

    @classmethod
    def default_outer(cls, settings: Settings) -> OuterStep:
        return Optimizer() if settings.loss == "chaser" else super().default_outer(settings)

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        chaser = context.settings.loss == "chaser"
        if chaser:
            require_outer(
                context.outer,
                "gradient-only",
                "The chaser loss",
                "it is a distance between parameters, no surrogate of the return that a step in "
                "the policies' KL could improve.",
                also="algorithm_settings.loss query",
            )
        if chaser and context.inner.before_weight:
            raise ConfigError(
                f"inner.before_weight {context.inner.before_weight} does not go with the chaser "
                "loss, a distance between parameters: leave it out, or take "
                "algorithm_settings.loss query."
            )
        if chaser and context.from_rewards and context.inner.surrogate == "log-likelihood":
            raise ConfigError(
                "The leader goes on from the parameters that sampled, which inner.surrogate "
                "log-likelihood does not correct for. Take inner.surrogate lvc or dice."
            )
        if context.ragged:
            raise ConfigError(
                "batch_by steps gives tasks any number of episodes, and M particles learn from "
                "as many each. Take batch_by episodes."
            )
        if context.from_rewards and context.episodes is not None:
            count = context.settings.particles
            _check_rows(count, context.episodes, "episodes")
            # Where curvature is estimated on a share of the episodes.
            fraction: float = getattr(context.outer, "fisher_fraction", 1.0)
            used = max(1, round(fraction * context.episodes))
            what = "the episodes of inner steps that trust_region.fisher_fraction takes (1: all)"
            _check_rows(count, used, what)

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: Settings) -> Overrides:
        # M/2 times the rate of one network: a particle and all its neighbors weigh about 2.
        count, overrides = settings.particles, super().default_overrides(config, settings)
        overrides["inner.step_size"] = config.inner.step_size * count / 2
        if config.data == "episodes":  # a share of them that every particle has a part in
            overrides["batch_by"] = "episodes"
            used = math.ceil(config.trust_region.fisher_fraction * config.episodes / count) * count
            overrides["trust_region.fisher_fraction"] = min(1.0, used / config.episodes)
        elif isinstance(config.chunk_size, int):  # as many networks at once
            overrides["chunk_size"] = max(1, config.chunk_size // count)
        return overrides

    def wrap(self, policy: Policy) -> Policy:
        return partial(self._together, policy)

    def _together(self, policy: Policy, params: Params, inputs: Inputs) -> Distribution:
        count = len(next(iter(params.values())))  # not the setting: a loss is of one particle
        if count == 1:
            return policy(self.particles(params)[0], inputs)
        if not self.from_rewards:
            return pooled(torch.func.vmap(policy, in_dims=(0, None))(params, inputs))
        # Any number of rows can be acted on: what is missing from a multiple of M is made up.
        rows = cast(Tensor, inputs)
        padded = torch.arange(-(-len(rows) // count) * count, device=rows.device)
        own = by_particle(rows[padded % len(rows)], count)
        acted: Distribution = torch.func.vmap(policy)(params, own)
        fields = (field.transpose(0, 1).flatten(0, 1)[: len(rows)] for field in acted)
        return like(acted, fields)

    def particles(self, params: Params) -> list[Params]:
        """The networks' own parameters, one set for each particle."""
        count = len(next(iter(params.values())))
        return [{name: leaf[m] for name, leaf in params.items()} for m in range(count)]

    def network(self, params: Params) -> Params | None:
        networks = self.particles(params)
        return networks[0] if len(networks) == 1 else None

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        losses = ("query", "chaser") if config.outer == "optimizer" else ("query",)
        return {"algorithm_settings.loss": losses, "algorithm_settings.particles": (3, 5, 10)}

    def init_meta(self, params: Params) -> Meta:
        """The first particle is the network as initialized, the others have the entries of each
        tensor permuted: as likely a draw, where those were drawn independently (constants stay)."""
        stacked = {}
        for i, (name, leaf) in enumerate(params.items()):
            orders = [generator(m, i).permutation(leaf.numel()) for m in range(1, self.count)]
            flat = leaf.flatten()
            others = [flat[torch.from_numpy(order).to(leaf.device)] for order in orders]
            stacked[name] = torch.stack([flat, *others]).view(-1, *leaf.shape)
        return {"params": stacked}

    def warm_start(self, loaded: Meta, built: Meta) -> Meta:
        """A run of another algorithm has one network, and its particles are made as ever."""
        plain = self.particles(built["params"])[0]
        single = all(
            name in plain and leaf.shape == plain[name].shape
            for name, leaf in loaded["params"].items()
        )
        return super().warm_start(self.init_meta(loaded["params"]) if single else loaded, built)

    @property
    def count(self) -> int:
        """M."""
        return self.settings.particles

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        return self.move(params, (data,), self.inner_config.step_size)

    def move(self, params: Params, sets: tuple[Data, ...], step_size: float) -> Params:
        """An SVGD step on the union of some data sets of one task."""
        sizes = [len(tree.leaves(data)[0]) for data in sets]
        if self.from_rewards:
            for data in sets:
                _check_rows(self.count, len(data.mask), "the episodes of an inner step")
            sets = tree.map(lambda leaf: by_particle(leaf, self.count), sets)

        def energy(particle: Params, sets: tuple[Data, ...]) -> Tensor:
            """-log p of one particle."""
            alone = tree.map(lambda leaf: leaf[None], particle)
            losses = (self.inner_loss(alone, data) for data in sets)
            weights = (size / sum(sizes) for size in sizes)
            total = _sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
            if self.settings.prior:
                norm = _sum(leaf.square().sum() for leaf in tree.leaves(particle))
                total = total + 0.5 * self.settings.prior * norm
            return total

        gradient = torch.func.grad(energy)
        own = 0 if self.from_rewards else None
        down = torch.func.vmap(gradient, in_dims=(0, own))(params, sets)
        direction = svgd(params, down, self.settings.repulsion)
        return tree.map(lambda p, d: p - step_size * d, params, direction)

    def outer_loss(self, iterates: Iterates, data: MetaBatch) -> Tensor:
        if self.settings.loss == "query":
            return super().outer_loss(iterates, data)
        leader = tree.map(lambda leaf: leaf.detach(), iterates[-1])
        known = (*data.support[-1:], data.query)
        for _ in range(self.settings.leader_steps):
            leader = self.move(leader, known, self.inner_config.step_size)
        squares = tree.map(lambda p, t: (p - t).square().sum(), iterates[-1], leader)
        return torch.stack(tree.leaves(squares)).sum()


def svgd(particles: Params, gradient: Params, repulsion: float) -> Params:
    """Minus the SVGD direction, 1/M Σ_j [k(φ_j, φ_m) g_j - τ ∇_{φ_j} k(φ_j, φ_m)].

    Args:
        particles: φ, leaves [M, *shape].
        gradient: g = -∇log p at each of them, alike.
        repulsion: τ.
    """
    centered = tree.map(lambda leaf: (leaf - leaf.mean(0)).flatten(1), particles)
    distances = squared_distances(centered)
    h = bandwidth(distances)
    k = (-distances / h).exp()
    pull = 2 * repulsion / h  # ∇_{φ_j} k = 2/h (φ_m - φ_j) k

    def direction(leaf: Tensor, g: Tensor, x: Tensor) -> Tensor:
        moved = k @ (g.flatten(1) + pull * x) - pull * k.sum(1, keepdim=True) * x
        return (moved / len(leaf)).view(leaf.shape)

    return tree.map(direction, particles, gradient, centered)


def squared_distances(centered: Params) -> Tensor:
    """Squared distances between particles, [M, M], from leaves [M, P] of mean zero.

    With mean zero little cancels.
    """
    gram = _sum(x @ x.mT for x in tree.leaves(centered))
    squares = gram.diagonal()
    return (squares[:, None] + squares - 2 * gram).clamp(min=0)


def bandwidth(distances: Tensor) -> Tensor:
    """h = med² / log M, at which the median pair has k = 1/M (Liu and Wang 2016, section 5).

    med² is the median squared distance of different particles, taken for a constant. One particle
    has no pairs, and its kernel is 1 whatever h.
    """
    count = len(distances)
    if count == 1:
        return distances.new_ones(())
    rows, columns = torch.triu_indices(count, count, 1, device=distances.device)
    pairs = distances[rows, columns].detach().sort().values
    median = (pairs[(len(pairs) - 1) // 2] + pairs[len(pairs) // 2]) / 2
    return (median / math.log(count)).clamp(min=torch.finfo(median.dtype).eps)


def by_particle(rows: Tensor, count: int) -> Tensor:
    """Rows [G M, ...] as [M, G, ...]: row i is the next of i mod M."""
    return rows.view(-1, count, *rows.shape[1:]).transpose(0, 1)


def pooled(particles: Distribution) -> Distribution:
    """The mixture of M distributions, fields [M, ...], or the Gaussian of its mean and variance."""
    if isinstance(particles, Categorical):
        log_p = particles.logits.log_softmax(-1)
        return Categorical(log_p.logsumexp(0) - math.log(len(log_p)))
    variance = (2 * particles.log_std).exp().mean(0) + particles.mean.var(0, correction=0)
    return Gaussian(particles.mean.mean(0), 0.5 * variance.log())


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return cast(Tensor, sum(tensors))


def _check_rows(particles: int, count: int, what: str) -> None:
    if count % particles:
        raise ConfigError(
            f"Each particle of BayesianMAML learns from episodes of its own, so {what} must be a "
            f"multiple of algorithm_settings.particles, {particles}; got {count}."
        )
