"""ProMP's outer step (Rothfuss et al. 2019, algorithm 1): several epochs on one meta-batch.

    L'_clip(φ_K(θ), D') + Σ_k η_k KL(π_φk,old ‖ π_φk)

The ratios of L' are clipped, so that the adapted policies stay near those that sampled D'; the
penalty does it for the policies that sampled D_k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from rlmaml.inner import adapt
from rlmaml.objective import (
    Objective,
    evaluate,
    mean_over_tasks,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.optimisers import Live, Optimiser
from rlmaml.outer import ObjectiveConfig, kl_penalty, step_kls
from rlmaml.types import Meta, MetaBatch, Metrics, State


class Proximal(NamedTuple):
    """What is carried from one update to the next."""

    live: Live
    coefficients: tuple[float, ...]  # η_k


COEFFICIENT_RANGE = 1024.0
"""The factor by which adaptation may take a penalty's weight up or down from where it began."""


class ProximalStep:
    """Epochs of an optimiser on the clipped surrogate, with a KL penalty per inner step.

    Args:
        optimiser: makes the steps; its schedule advances once per update.
        config: epochs and penalty.
        steps: K.
    """

    def __init__(self, optimiser: Optimiser, config: ObjectiveConfig, steps: int) -> None:
        self.optimiser, self.config, self.steps = optimiser, config, steps

    def init(self, meta: Meta, saved: dict[str, Any] | None = None) -> Proximal:
        coefficients = (self.config.kl_coefficient,) * self.steps
        if saved is not None:
            coefficients = tuple(saved["kl_coefficients"])
        return Proximal(self.optimiser.init(meta, saved), coefficients)

    def saved(self, state: Proximal) -> dict[str, Any]:
        return {
            **self.optimiser.saved(state.live),
            "kl_coefficients": list(state.coefficients),
        }

    def update(self, objective: Objective, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        """Descend for the configured epochs.

        A gradient that is not finite ends them, and `outcome` says so: what stood before the
        epoch stays. The state is used up: go on with the one returned.
        """
        live, coefficients = state.outer
        ref = reference(objective, state.meta, batch)
        batch = batch._replace(path=ref.path)
        objective = objective._replace(path_term=kl_penalty(objective.policy, coefficients))
        meta, norms, outcome = state.meta, [], "accepted"
        for _ in range(self.config.epochs):
            _, gradient = meta_gradient(objective, meta, batch)
            if not torch.isfinite(gradient).all():
                outcome = "gradient not finite"
                break
            norms.append(gradient.norm().item())
            meta = self.optimiser.descend(live, meta, gradient)
        losses, kls = evaluate(objective, meta, batch, ref)
        inner_kls = sampling_kls(objective, meta, batch)
        metrics: Metrics = {
            "outcome": outcome,
            "loss": mean_over_tasks(losses).item(),
            "kl": mean_over_tasks(kls).item(),
            "kl/per_task": kls.tolist(),
            "kl/inner": inner_kls,
            "kl_coefficients": list(coefficients),
            "gradient_norm": norms[0] if norms else float("nan"),
            "epochs": len(norms),
            "learning_rate": live.learning_rate,
        }
        if not norms:
            return State(meta, Proximal(live, coefficients)), metrics
        live.advance()
        if self.config.adaptive_kl:
            pairs = zip(coefficients, inner_kls, strict=True)
            coefficients = tuple(self.adapted(c, kl) for c, kl in pairs)
        return State(meta, Proximal(live, coefficients)), metrics

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


@torch.no_grad()
def sampling_kls(objective: Objective, meta: Meta, batch: MetaBatch) -> list[float]:
    """KL(π_φk,old ‖ π_φk), the mean over tasks, for each inner step; φ_old is `batch.path`."""

    def one(data: MetaBatch) -> list[torch.Tensor]:
        path = adapt(objective.inner, meta, data.support)
        return step_kls(objective.policy, path, data)

    return [mean_over_tasks(kl).item() for kl in over_tasks(one, objective.chunk_size)(batch)]
