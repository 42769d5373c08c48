"""ProMP (Rothfuss et al. 2019, algorithm 1): several epochs on one meta-batch.

    L'_clip(φ_K(θ), D') + Σ_k η_k KL(π_φk,old ‖ π_φk)

with the low-variance-curvature surrogate (LVC, section 5) in the inner steps. The ratios of L' are
clipped, so that the adapted policies stay near those that sampled D'; the penalty does it for the
policies that sampled D_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from rlmaml import losses, processes
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, RunConfig
from rlmaml.distributions import kl
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.objective import (
    Objective,
    OuterLoss,
    evaluate,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.outer.base import OuterCapability
from rlmaml.outer.optimizer import Optimizer, OptimizerState
from rlmaml.returns import masked_mean
from rlmaml.types import Iterates, Meta, MetaBatch, Metrics, Policy, State, StateDict


class ProMP(Algorithm):
    """Proximal meta-policy search. Arguments as of `Algorithm`; the outer step is an
    `Optimizer`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {
            "epochs": 100_000,
            "kl_coefficient": 1e6,
            "kl_target": 1e6,
        }

        clip: float = 0.3
        """Likelihood ratios count between 1 - clip and 1 + clip."""
        epochs: int = 5
        """Optimizer steps per meta-iteration."""
        kl_coefficient: float = 5e-4
        """Weight of the KL penalty of each inner step, at the start."""
        kl_target: float = 0.01
        """The KL that its weight is adapted to, in nats per time step."""
        adaptive_kl: bool = True
        """Double the weight where the KL is over 1.5 times the target, halve it where it is under
        the target / 1.5, within a factor of 1024 of where it began."""

        def __post_init__(self) -> None:
            for name, ok, want in (
                ("clip", 0 < self.clip < 1, "between 0 and 1"),
                ("epochs", self.epochs >= 1, "at least 1"),
                ("kl_coefficient", self.kl_coefficient >= 0, "zero or positive"),
                ("kl_target", self.kl_target > 0, "positive"),
            ):
                if not ok:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be {want}, got {getattr(self, name)}."
                    )

    requires: ClassVar[Requires] = {
        "episodes": "labeled examples have no likelihood ratios.",
        "optimizer": "it keeps its steps short by clipping and a KL penalty.",
        "default-outer-loss": "it has an outer loss of its own, the clipped likelihood ratio.",
    }
    off_policy_inner = True
    settings: Settings

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        if context.inner.surrogate != "lvc":
            how = (
                "does not correct for"
                if context.inner.surrogate == "log-likelihood"
                else "corrects for by products over whole episodes, which are too noisy"
            )
            raise ConfigError(
                "ProMP moves on from the parameters that sampled, for several epochs, which "
                f"inner.surrogate {context.inner.surrogate} {how}. Take inner.surrogate lvc."
            )

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        return {"algorithm_settings.epochs": (1, 5, 20)}

    def complete(self) -> None:
        self.loss = losses.clipped_ratio(
            self.policy, clip=self.settings.clip, reduction=self.outer_reduction
        )
        self.outer = ProximalStep(
            cast(Optimizer, self.outer), self.settings, self.inner_config.steps
        )


def kl_penalty(policy: Policy, coefficients: Sequence[float]) -> OuterLoss:
    """Σ_k η_k KL(π_φk,old ‖ π_φk) on the states of D_k, nats per time step.

    It keeps the policies that an inner step starts from near those that sampled for it.

    Args:
        coefficients: η_k, one for each inner step.
    """

    def penalty(iterates: Iterates, data: MetaBatch) -> Tensor:
        total = data.query.mask.new_zeros(())
        moved = step_kls(policy, iterates, data)
        for coefficient, each in zip(coefficients, moved, strict=True):
            total = total + coefficient * each
        return total

    return penalty


def step_kls(policy: Policy, iterates: Iterates, data: MetaBatch) -> list[Tensor]:
    """KL(π_φk,old ‖ π_φk) on the states of D_k, for each inner step; φ_old is `data.iterates`."""
    kls = []
    for old, new, support in zip(data.iterates[:-1], iterates[:-1], data.support, strict=True):
        moved = kl(policy(old, support.inputs), policy(new, support.inputs))
        kls.append(masked_mean(moved, support.mask))
    return kls


class Proximal(NamedTuple):
    """The state that is carried from one update to the next."""

    live: OptimizerState
    coefficients: tuple[float, ...]  # η_k


COEFFICIENT_RANGE = 1024.0
"""The factor by which adaptation may take a penalty's weight up or down from where it began."""


class ProximalStep:
    """Epochs of an optimizer on the clipped surrogate, with a KL penalty per inner step.

    Args:
        optimizer: makes the steps; its schedule advances once per update.
        config: epochs and penalty.
        steps: K.
    """

    def __init__(self, optimizer: Optimizer, config: ProMP.Settings, steps: int) -> None:
        self.optimizer, self.config, self.steps = optimizer, config, steps

    capabilities: ClassVar[frozenset[OuterCapability]] = Optimizer.capabilities

    def init(self, meta: Meta) -> Proximal:
        coefficients = (self.config.kl_coefficient,) * self.steps
        return Proximal(self.optimizer.init(meta), coefficients)

    def load_state_dict(self, meta: Meta, saved: StateDict) -> Proximal:
        live = self.optimizer.load_state_dict(meta, saved)
        return Proximal(live, tuple(saved["kl_coefficients"]))

    def state_dict(self, state: Proximal) -> StateDict:
        """The optimizer's entries, and "kl_coefficients"."""
        kept = self.optimizer.state_dict(state.live)
        return {**kept, "kl_coefficients": list(state.coefficients)}

    def validate_schedule(self, iterations: int) -> None:
        self.optimizer.validate_schedule(iterations)

    def update(
        self, objective: Objective, state: State[Proximal], batch: MetaBatch
    ) -> tuple[State[Proximal], Metrics]:
        """Descend for the configured epochs.

        A gradient that is not finite ends them, and `outcome` says so: what stood before the
        epoch stays. The state is used up: go on with the one returned.
        """
        live, coefficients = state.outer
        ref = reference(objective, state.meta, batch)
        batch = batch._replace(iterates=ref.iterates)
        objective = penalized(objective, coefficients)
        meta, norms, outcome = state.meta, [], "accepted"
        for _ in range(self.config.epochs):
            _, gradient = meta_gradient(objective, meta, batch)
            if not torch.isfinite(gradient).all():
                outcome = "gradient not finite"
                break
            norms.append(gradient.norm().item())
            meta = self.optimizer.descend(live, meta, gradient)
        losses, kls = evaluate(objective, meta, batch, ref)
        inner_kls = sampling_kls(objective, meta, batch)
        metrics: Metrics = {
            "outcome": outcome,
            "loss": processes.mean(losses).item(),
            "kl": processes.mean(kls).item(),
            "kl/per_task": processes.all_tasks(kls).tolist(),
            "kl/inner": inner_kls,
            "kl_coefficients": list(coefficients),
            "gradient_norm": norms[0] if norms else float("nan"),
            "epochs": len(norms),
            "learning_rate": live.learning_rate,
        }
        if not norms:
            return state._replace(meta=meta, outer=Proximal(live, coefficients)), metrics
        live.advance()
        if self.config.adaptive_kl:
            pairs = zip(coefficients, inner_kls, strict=True)
            coefficients = tuple(self.adapted(c, moved) for c, moved in pairs)
        return state._replace(meta=meta, outer=Proximal(live, coefficients)), metrics

    def adapted(self, coefficient: float, kl: float) -> float:
        """A coefficient after a step that moved by `kl`: PPO's rule (Schulman et al. 2017, 4).

        It stays within a factor of `COEFFICIENT_RANGE` of where it began, so that it finds back
        after a long time on one side of the target.
        """
        if kl > 1.5 * self.config.kl_target:
            coefficient *= 2
        elif kl < self.config.kl_target / 1.5:
            coefficient /= 2
        start = self.config.kl_coefficient
        return min(max(coefficient, start / COEFFICIENT_RANGE), start * COEFFICIENT_RANGE)


def penalized(objective: Objective, coefficients: Sequence[float]) -> Objective:
    """An objective with the KL penalty added."""
    loss, penalty = objective.outer_loss, kl_penalty(objective.policy, coefficients)
    return objective._replace(
        outer_loss=lambda iterates, data: loss(iterates, data) + penalty(iterates, data)
    )


@torch.no_grad()
def sampling_kls(objective: Objective, meta: Meta, batch: MetaBatch) -> list[float]:
    """KL(π_φk,old ‖ π_φk), the mean over tasks, for each inner step; φ_old is `batch.iterates`."""

    def one(data: MetaBatch) -> tuple[torch.Tensor, ...]:
        iterates = adapt(objective.inner, meta, data.support)
        return tuple(step_kls(objective.policy, iterates, data))

    return [processes.mean(moved).item() for moved in over_tasks(one, objective.chunk_size)(batch)]
