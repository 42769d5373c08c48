"""Alpha-MAML (Behl, Baydin and Torr 2019, algorithm 2): both learning rates by hypergradients.

    α ← α - α̂ ∂F/∂α                      for K = 1: + α̂ mean_i ⟨∇L_i(φ_i, D'_i), ∇L_i(θ, D_i)⟩
    β ← β - β̂ ∂F/∂β = β + β̂ ⟨g, u'⟩      u' = (θ' - θ) / β', the direction of the last outer step
    θ ← θ - β u                          u = g with SGD

F is the meta-objective at θ, g its gradient, θ' and β' those before the last outer step. F depends
on α through the adaptation and on β through that step (Baydin et al. 2018), so each gradient costs
an inner product. For SGD u' is the last gradient, as in the paper; another optimizer's u' is what
it made of it.
Both stay positive, and one noisy batch does not undo them: no update takes either up or down by
more than a factor of 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from rlmaml import processes, tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import STEP_SIZE_NEEDS_SUPPORT, Requires
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError
from rlmaml.objective import Objective, meta_gradient
from rlmaml.outer.base import OuterCapability
from rlmaml.outer.optimizer import Optimizer, OptimizerState
from rlmaml.types import Data, Meta, MetaBatch, Metrics, Params, State, StateDict


class AlphaMAML(Algorithm):
    """MAML that tunes its learning rates. Arguments as of `Algorithm`; the outer step is an
    `Optimizer`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {"alpha_rate": 1e6, "beta_rate": 1e6}

        alpha_rate: float = 1e-5
        """α̂, how fast the inner step size moves; 0 holds it."""
        beta_rate: float = 1e-6
        """β̂, how fast the outer learning rate moves; 0 holds it."""

        def __post_init__(self) -> None:
            for name in ("alpha_rate", "beta_rate"):
                if not getattr(self, name) >= 0:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be zero or positive, got "
                        f"{getattr(self, name)}."
                    )

    requires: ClassVar[Requires] = {
        "optimizer": "it has no learning rate to tune.",
        "support-hessian": STEP_SIZE_NEEDS_SUPPORT,
    }
    settings: Settings

    @classmethod
    def learns_step_sizes(cls, settings: AlgorithmSettings) -> bool:
        return True

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        outer = cast(Optimizer, context.outer)
        if outer.schedule is not None:
            raise ConfigError(
                f"optimizer.schedule {outer.schedule} would set the learning rate that "
                "AlphaMAML tunes: leave it out."
            )
        if outer.name in NOT_PROPORTIONAL:
            raise ConfigError(
                "AlphaMAML needs an optimizer whose step is proportional to its learning rate, "
                f"and that of {outer.name} is not: take Adam or SGD, for example."
            )

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        """Rates that move α and β by about a hundredth in an update at the start.

        A rate has the units of α² (or β²) over those of a loss, and losses are of the order of 1.
        """
        return super().default_overrides(config, settings) | {
            "algorithm_settings.alpha_rate": 0.1 * config.inner.step_size**2,
            "algorithm_settings.beta_rate": config.optimizer.learning_rate**2,
        }

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        return {"algorithm_settings.alpha_rate": (1e-6, 1e-5, 1e-4, 1e-3)}

    def complete(self) -> None:
        self.outer = HypergradientStep(cast(Optimizer, self.outer), self.settings)

    def init_meta(self, params: Params) -> Meta:
        size = next(iter(params.values())).new_tensor(self.inner_config.step_size)
        return {"params": params, "rates": {"alpha": size}}

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        gradient = tree.grad(self.inner_loss)(params, data)
        return tree.map(lambda p, g: p - meta["rates"]["alpha"] * g, params, gradient)


NOT_PROPORTIONAL = ("ASGD", "Adafactor", "Rprop")
"""Optimizers of torch whose steps are not their learning rate times what does not depend on it."""


class Tuned(NamedTuple):
    """The state that is carried from one update to the next."""

    live: OptimizerState
    beta: float
    direction: Tensor  # u' [P], zero before the first step


class HypergradientStep:
    """A step of an optimizer on θ, and of gradient descent on α and β.

    Args:
        optimizer: makes the step on θ; β begins at its learning rate.
        config: α̂ and β̂.
    """

    def __init__(self, optimizer: Optimizer, config: AlphaMAML.Settings) -> None:
        self.optimizer, self.config = optimizer, config

    capabilities: ClassVar[frozenset[OuterCapability]] = Optimizer.capabilities

    def init(self, meta: Meta) -> Tuned:
        live = self.optimizer.init({"params": meta["params"]})
        theta, _ = tree.ravel(meta["params"])
        return Tuned(live, self.optimizer.learning_rate, torch.zeros_like(theta))

    def load_state_dict(self, meta: Meta, saved: StateDict) -> Tuned:
        live = self.optimizer.load_state_dict({"params": meta["params"]}, saved)
        device = live.params[0].device
        return Tuned(live, saved["beta"], saved["direction"].to(device).clone())

    def state_dict(self, state: Tuned) -> StateDict:
        """The optimizer's entries, "beta" and "direction" [P]."""
        kept = self.optimizer.state_dict(state.live)
        return {**kept, "beta": state.beta, "direction": state.direction.clone()}

    def validate_schedule(self, iterations: int) -> None:
        self.optimizer.validate_schedule(iterations)

    def update(
        self, objective: Objective, state: State[Tuned], batch: MetaBatch
    ) -> tuple[State[Tuned], Metrics]:
        """Move α, β, and θ by the new β.

        A gradient that is not finite changes nothing, and `outcome` says so. The state is used
        up: go on with the one returned.
        """
        live, beta, direction = state.outer
        losses, gradient = meta_gradient(objective, state.meta, batch)
        parts = tree.ravel(state.meta)[1](gradient)
        gradient, slope = tree.ravel(parts["params"])[0], parts["rates"]["alpha"]
        norm = gradient.norm()
        alpha = state.meta["rates"]["alpha"]
        metrics: Metrics = {
            "outcome": "accepted",
            "loss": processes.mean(losses).item(),
            "gradient_norm": norm.item(),
            "alpha": alpha.item(),
            "alpha/gradient": slope.item(),
            "beta": beta,
            "beta/gradient": 0.0,
        }
        if not torch.isfinite(norm + slope):
            return state, metrics | {"outcome": "gradient not finite"}
        beta_slope = -(gradient @ direction).item()
        beta = descended(beta, beta_slope, self.config.beta_rate)
        before = {"params": state.meta["params"]}
        for group in live.optimizer.param_groups:
            group["lr"] = beta
        after = self.optimizer.descend(live, before, gradient)
        direction = (tree.ravel(before)[0] - tree.ravel(after)[0]) / beta
        size = descended(alpha.item(), slope.item(), self.config.alpha_rate)
        meta = after | {"rates": {"alpha": torch.full_like(alpha, size)}}
        metrics |= {"beta": beta, "beta/gradient": beta_slope}
        return state._replace(meta=meta, outer=Tuned(live, beta, direction)), metrics


def descended(value: float, slope: float, rate: float) -> float:
    """value - rate · slope, within a factor of 2 of value."""
    return min(max(value - rate * slope, value / 2), value * 2)
