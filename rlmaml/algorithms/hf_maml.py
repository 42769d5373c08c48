"""HF-MAML (Fallah, Mokhtari and Ozdaglar 2020, algorithm 2): no second derivatives.

    v = ∇L_i(φ_i, D'_i),    δ = h / ‖v‖
    θ ← θ - β mean_i { v - α [∇L_i(θ + δv, D_i^h) - ∇L_i(θ - δv, D_i^h)] / 2δ }

MAML whose Hessian-vector product is a difference of two gradients, for about FO-MAML's memory. D^h
is the support set D, or with `inner.hessian separate`, as in the paper, a set of its own. The
differences want a smooth network (tanh, elu): where examples switch a ReLU on or off the gradient
jumps, and the product is noisy. A trust region's curvature takes the exact Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlmaml.adjoints import hessian_free, unrolled
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError


class HFMAML(Algorithm):
    """Hessian-free MAML. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        shift: float | None = None
        """h, how far from the parameters gradients are taken. None: (ε (1 + ‖φ‖))^⅓, ε the
        precision of a float, where rounding and truncation are about equal for a smooth network."""
        hessian_lipschitz: float | None = None
        """ρ of the inner loss, for the published h = 1/6ρα, in place of shift."""

        def __post_init__(self) -> None:
            for name in ("shift", "hessian_lipschitz"):
                value = getattr(self, name)
                if value is not None and not value > 0:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be positive or None, got {value}."
                    )
            if self.shift is not None and self.hessian_lipschitz is not None:
                raise ConfigError(
                    "algorithm_settings.shift and algorithm_settings.hessian_lipschitz each "
                    "determine h: give one of them."
                )

    curvature = staticmethod(unrolled)
    settings: Settings

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        return {"policy.activation": "tanh"}

    def complete(self) -> None:
        self.adjoint = hessian_free(
            self.inner_loss,
            self.inner_config.step_size,
            shift=self.settings.shift,
            hessian_lipschitz=self.settings.hessian_lipschitz,
        )
