"""iMAML (Rajeswaran, Finn, Kakade and Levine 2019, algorithms 1 and 2): implicit gradients.

    φ*_i = argmin over φ of  L_i(φ, D_i) + λ/2 ‖φ - θ‖²
    θ ← θ - β mean_i (I + ∇²L_i(φ*_i, D_i)/λ)⁻¹ ∇L_i(φ*_i, D'_i)

The minimizer is sought by gradient steps, φ_{k+1} = φ_k - α [∇L_i(φ_k) + λ (φ_k - θ)], or by
Gauss-Newton steps, and the inverse is applied by conjugate gradient. The derivative depends on
where adaptation ends and not on the way there, so memory does not grow with its steps. It is that
of the minimizer: the metric `residual` says how near to it the search has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rlmaml import processes, proximal, tree
from rlmaml.adjoints import implicit
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.objective import over_tasks
from rlmaml.types import Data, Meta, MetaBatch, Metrics, Params

MEASURED = 4
"""Tasks of a batch whose residual is measured: each is adapted to once more for it."""


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

        solver: Literal["gradient", "gauss-newton"] = "gradient"
        """Steps to the minimizer: down the gradient, by inner.step_size; or from examples
        Gauss-Newton steps, which need no size, and come near to it within ten with a smooth
        network. A ReLU's minimizer may lie at a kink, where no gradient vanishes."""

        strength: float = 2.0
        """λ, how strongly adapted parameters are held to the meta-learned ones. With episodes it
        must exceed the negative curvature of the inner surrogate."""
        cg_iterations: int = 5
        """Conjugate-gradient iterations of the implicit gradient, a Hessian product each; and of a
        Gauss-Newton step."""
        solver_steps: int = 1
        """Steps of the solver that make an inner step, on the same data."""

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
        if context.from_rewards and context.settings.solver == "gauss-newton":
            raise ConfigError(
                "algorithm_settings.solver gauss-newton is for labeled examples: a surrogate of "
                "rewards is not convex in what a policy puts out. Take solver gradient."
            )
        if (
            context.settings.solver == "gradient"
            and context.inner.step_size * context.settings.strength >= 2
        ):
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

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        if config.data == "episodes":
            return {"algorithm_settings.strength": (1.0, 2.0, 5.0, 10.0)}
        return {
            "inner.steps": (3, 5, 10),
            "algorithm_settings.strength": (0.1, 0.3, 1.0, 2.0),
            "algorithm_settings.solver": ("gradient", "gauss-newton"),
        }

    def complete(self) -> None:
        self.adjoint = implicit(
            self.inner_loss, self.settings.strength, iterations=self.settings.cg_iterations
        )

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        """φ nearer to φ*, by as many steps as the solver is to take."""
        (w, unravel), (theta, _) = tree.ravel(params), tree.ravel(self.start(meta))
        for _ in range(self.settings.solver_steps):
            w = self._nearer(w, theta, unravel, data)
        return unravel(w)

    def _nearer(
        self, w: Tensor, theta: Tensor, unravel: Callable[[Tensor], Params], data: Data
    ) -> Tensor:
        strength = self.settings.strength
        if self.settings.solver == "gradient":
            size = self.inner_config.step_size
            return proximal.gradient_step(
                lambda w: self.inner_loss(unravel(w), data), w, theta, strength, size
            )
        kind: Any = type(self.policy(unravel(w), data.inputs))
        of_outputs = self.make_inner_loss(lambda outputs, inputs: kind(*outputs.values()))
        return proximal.gauss_newton_step(
            lambda w: tuple(self.policy(unravel(w), data.inputs)),
            lambda *fields: of_outputs(dict(zip(kind._fields, fields, strict=True)), data),
            w,
            theta,
            strength,
            self.settings.cg_iterations,
        )

    def signs(self, meta: Meta, batch: MetaBatch) -> Metrics:
        """`residual`, a mean over the first tasks: how far from solved the inner problem is left.

        From examples alone: of episodes every step has its own, and a problem of its own.
        """
        if self.from_rewards or not batch.support:
            return {}

        def left(support: tuple[Data, ...]) -> Tensor:
            (theta, unravel), data = tree.ravel(self.start(meta)), support[-1]
            found = tree.ravel(adapt(self.inner, meta, support)[-1])[0]
            return proximal.residual(
                lambda w: self.inner_loss(unravel(w), data), found, theta, self.settings.strength
            )

        few = tree.map(lambda leaf: leaf[:MEASURED], batch.support)
        with torch.no_grad():
            residuals = over_tasks(left, self.chunk_size)(few)
        return {"residual": float(processes.mean(residuals))}
