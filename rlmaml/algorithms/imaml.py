"""iMAML (Rajeswaran, Finn, Kakade and Levine 2019, algorithms 1 and 2): implicit gradients.

    φ*_i = argmin over φ of  L_i(φ, D_i) + λ/2 ‖φ - θ‖²
    θ ← θ - β mean_i (I + ∇²L_i(φ*_i, D_i)/λ)⁻¹ ∇L_i(φ*_i, D'_i)

The minimizer is sought by gradient steps, φ_{k+1} = φ_k - α [∇L_i(φ_k) + λ (φ_k - θ)], and the
inverse is applied by conjugate gradient. The derivative depends on where adaptation ends and not on
the way there, so memory does not grow with its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rlmaml import tree
from rlmaml.adjoints import implicit
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError
from rlmaml.types import Data, Meta, Params


class IMAML(Algorithm):
    """MAML with implicit gradients. Arguments as of `Algorithm`.

    From examples `inner.steps` are the gradient steps of the solver, all on the same support set.
    From episodes a step has episodes of its own, and is `solver_steps` gradient steps on them; more
    than a few leave the parameters that sampled too far behind.
    """

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {
            "strength": 1e9,
            "cg_iterations": 100_000,
            "solver_steps": 10_000,
        }

        strength: float = 2.0
        """λ, how strongly adapted parameters are held to the meta-learned ones. With episodes it
        must exceed the negative curvature of the inner surrogate."""
        cg_iterations: int = 5
        """Conjugate-gradient iterations of the implicit gradient, a Hessian product each."""
        solver_steps: int = 1
        """Gradient steps that make an inner step, on the same data."""

        def __post_init__(self) -> None:
            for name in ("strength", "cg_iterations", "solver_steps"):
                if not getattr(self, name) > 0:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be positive, got {getattr(self, name)}."
                    )

    requires: ClassVar[Requires] = {
        "gradient-only": (
            "its Jacobian is known by a few iterations of a solver, which is not a linear map, and "
            "a trust region's curvature needs one and its transpose."
        ),
        "support-hessian": (
            "the minimizer moves by the Hessian of the data that it is the minimizer of."
        ),
    }
    off_policy_inner = True
    settings: Settings

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        if context.inner.step_size * context.settings.strength >= 2:
            raise ConfigError(
                f"inner.step_size {context.inner.step_size} times algorithm_settings.strength "
                f"{context.settings.strength} must be below 2: steps down the proximal term alone "
                "would already run away."
            )
        if context.from_rewards and context.inner.surrogate == "log-likelihood":
            raise ConfigError(
                "The solver leaves the parameters that sampled, and its Hessian is taken where it "
                "arrives, which inner.surrogate log-likelihood does not correct for. Take "
                "inner.surrogate lvc or dice."
            )

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        overrides = super().default_overrides(config, settings)
        strength, size = cls.Settings.strength, config.inner.step_size
        if config.data == "episodes":
            strength = 5.0
        else:
            overrides["inner.steps"] = max(config.inner.steps, 10)
        return overrides | {
            "algorithm_settings.strength": strength,
            "inner.step_size": min(size, 0.5 / strength),  # stable up to a curvature of 3 λ
        }

    def complete(self) -> None:
        self.adjoint = implicit(
            self.inner_loss, self.settings.strength, iterations=self.settings.cg_iterations
        )

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        """φ - α [∇L(φ) + λ (φ - θ)], as often as the solver is to."""
        theta, size, strength = (
            self.start(meta),
            self.inner_config.step_size,
            self.settings.strength,
        )
        for _ in range(self.settings.solver_steps):
            gradient = tree.grad(self.inner_loss)(params, data)
            params = tree.map(
                lambda p, g, t: p - size * (g + strength * (p - t)), params, gradient, theta
            )
        return params
