"""MAML++ (Antoniou, Edwards and Storkey 2019, section 4): MAML with five remedies.

    φ_{k+1} = φ_k - α_{l,k} ∇L_i(φ_k, D_k),    min over θ and α of  Σ_i Σ_k w_k L_i(φ_k, D'_i)

- A learned step size for every layer l (each tensor of parameters) and step k.
- The loss after every step and not the last alone. Its weights w_k begin equal and move to the
  last, as in the authors' code: with s the share done of the iterations that this lasts,
  w_k = max(1 - s, 0.03) / K for k < K, the rest for k = K, and then the last alone.
- First-order derivatives at the beginning: ∇L_i(φ_k, D_k) counts as a constant, so that the step
  sizes have a gradient all the same.
- A meta learning rate that falls along a cosine.
- Scale and shift of batch norm for every step, meta-learned and not adapted; what takes step k also
  gives the loss after it. The statistics are those of the batch at hand. Running ones per step are
  not kept: the authors' code stores them but normalizes by the batch's, in training and in tests,
  and a model here is a function of its parameters alone.

Each can be switched off; without them all it is MAML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

from torch import Tensor

from rlmaml import models, tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import STEP_SIZE_NEEDS_SUPPORT, Requires, require_outer
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError
from rlmaml.objective import Objective
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import (
    Data,
    Episodes,
    InnerLoop,
    Iterates,
    Meta,
    MetaBatch,
    Metrics,
    Params,
    State,
)


class MAMLPlusPlus(Algorithm):
    """MAML with five remedies. Arguments as of `Algorithm`; the default outer step is an
    `Optimizer`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {"minimum_learning_rate": 1e6}

        learn_step_sizes: bool = True
        """Learn a step size per layer and step, from inner.step_size on; steps beyond those of
        training take the last one's."""
        multi_step_iterations: int = 0
        """Meta-iterations over which the outer loss moves from all steps to the last; 0 is off.
        Of episodes, φ_k is measured on those that it sampled for the next step, with the advantages
        of inner steps: give both kinds of advantages the same settings."""
        first_order_iterations: int = 0
        """Meta-iterations at the beginning with first-order derivatives; 0 is off."""
        cosine_iterations: int = 0
        """Meta-iterations over which the learning rate falls along a cosine; 0 is off."""
        minimum_learning_rate: float = 1e-5
        """The learning rate that it falls to, and stays at."""
        per_step_norm: bool = False
        """Learn scale and shift of batch norm for each step; for models that have one."""

        def __post_init__(self) -> None:
            for name in ("multi_step_iterations", "first_order_iterations", "cosine_iterations"):
                if getattr(self, name) < 0:
                    raise ConfigError(
                        f"algorithm_settings.{name} must be zero (off) or more, got "
                        f"{getattr(self, name)}."
                    )
            if not self.minimum_learning_rate >= 0:
                raise ConfigError(
                    "algorithm_settings.minimum_learning_rate must be zero or positive, got "
                    f"{self.minimum_learning_rate}."
                )

    requires: ClassVar[Requires] = {"support-hessian": STEP_SIZE_NEEDS_SUPPORT}
    settings: Settings

    @classmethod
    def learns_step_sizes(cls, settings: Settings) -> bool:
        return settings.learn_step_sizes

    @classmethod
    def default_outer(cls, settings: AlgorithmSettings) -> Optimizer:
        return Optimizer()

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        settings: MAMLPlusPlus.Settings = context.settings
        if not settings.cosine_iterations:
            return
        require_outer(
            context.outer,
            "optimizer",
            f"algorithm_settings.cosine_iterations {settings.cosine_iterations}",
            "it schedules a learning rate, which only an optimizer has.",
            also="algorithm_settings.cosine_iterations 0",
        )
        outer = cast(Optimizer, context.outer)
        if outer.schedule is not None:
            raise ConfigError(
                "algorithm_settings.cosine_iterations and optimizer.schedule would both set the "
                "learning rate: take 0, or no schedule."
            )
        if settings.minimum_learning_rate > outer.learning_rate:
            raise ConfigError(
                f"algorithm_settings.minimum_learning_rate {settings.minimum_learning_rate} is "
                f"above optimizer.learning_rate {outer.learning_rate}, from which it is to fall."
            )

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        """Five steps with examples. The multi-step loss lasts 15 % of the run, as in the authors'
        settings for mini-ImageNet; first-order derivatives a tenth, since more of them cost
        sinusoids more than they gave. An optimizer's gradients are clipped: step sizes that are
        too long make single ones tens of times as long as most."""
        overrides: Overrides = {
            "algorithm_settings.first_order_iterations": config.iterations // 10,
        }
        if config.data == "examples":
            overrides["inner.steps"] = 5
            overrides["algorithm_settings.multi_step_iterations"] = config.iterations * 15 // 100
        if config.outer == "optimizer":
            overrides["algorithm_settings.cosine_iterations"] = config.iterations
            overrides["optimizer.clip_norm"] = 2.0
        return overrides

    def init_meta(self, params: Params) -> Meta:
        norms = models.norm_parameters(params) if self.settings.per_step_norm else []
        if self.settings.per_step_norm and not norms:
            raise ConfigError(
                "algorithm_settings.per_step_norm needs a model with batch norm, whose "
                "parameters are named norm.weight, bn1.bias or the like, and this one has none: "
                "switch it off."
            )
        steps = max(self.inner_config.steps, 1)  # those taken without training take a first one's
        adapted = {name: value for name, value in params.items() if name not in norms}
        meta = {"params": adapted}
        if norms:
            meta["norms"] = {name: params[name].repeat(steps, 1) for name in norms}
        if self.settings.learn_step_sizes:
            size = self.inner_config.step_size
            meta["rates"] = tree.map(lambda value: value.new_full((steps,), size), adapted)
        return meta

    def warm_start(self, loaded: Meta, built: Meta) -> Meta:
        """A run of another algorithm has the parameters of norms among the others."""
        if "norms" in built and "norms" not in loaded:
            loaded = {**loaded, **self.init_meta(loaded["params"])}
        return super().warm_start(loaded, built)

    def adapts(self, params: Params) -> list[str]:
        norms = set(models.norm_parameters(params)) if self.settings.per_step_norm else set()
        return [name for name in params if name not in norms]

    def start(self, meta: Meta) -> Params:
        return meta["params"] | of_step(meta.get("norms", {}), 0)

    def step(
        self, meta: Meta, params: Params, data: Data, k: int, first_order: bool = False
    ) -> Params:
        norms = of_step(meta.get("norms", {}), k)
        rates = of_step(meta.get("rates", {}), k)
        params = params | norms
        at = tree.map(lambda p: p.detach(), params) if first_order else params
        gradient = tree.grad(self.inner_loss)(at, data)
        size = self.inner_config.step_size
        return {
            name: p if name in norms else p - rates.get(name, size) * gradient[name]
            for name, p in params.items()
        }

    def objective(self, state: State) -> Objective:
        objective, settings, done = super().objective(state), self.settings, state.iteration
        if done < settings.multi_step_iterations:
            weights = step_weights(self.inner_config.steps, done / settings.multi_step_iterations)
            objective = objective._replace(outer_loss=partial(self.multi_step_loss, weights))
        if done < settings.first_order_iterations:
            inner = InnerLoop(self.start, partial(self.step, first_order=True))
            objective = objective._replace(inner=inner)
        return objective

    def multi_step_loss(
        self, weights: Sequence[float], iterates: Iterates, data: MetaBatch
    ) -> Tensor:
        """Σ_k w_k L(φ_k, D'), k = 1 .. K; of episodes L(φ_k, D_k) for k < K, which φ_k sampled."""
        total = self.outer_loss(iterates, data)
        if not weights:
            return total
        total = weights[-1] * total
        between = data.support[1:]
        if not isinstance(data.query, Episodes):
            between = (data.query,) * len(between)
        for weight, params, measured in zip(weights[:-1], iterates[1:-1], between, strict=True):
            total = total + weight * self.loss(params, measured)
        return total

    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        over = self.settings.cosine_iterations
        if over:
            optimizer = cast(Optimizer, self.outer)
            least, start = self.settings.minimum_learning_rate, optimizer.learning_rate
            share = (1 + math.cos(math.pi * min(state.iteration / over, 1))) / 2
            for group in state.outer.optimizer.param_groups:
                group["lr"] = least + (start - least) * share
        return super().update(state, batch)


def of_step(values: Params, k: int) -> Params:
    """Row k of each [K, ...], or the last."""
    return {name: rows[min(k, len(rows) - 1)] for name, rows in values.items()}


def step_weights(steps: int, share: float) -> list[float]:
    """Weights of the losses after steps 1 .. K, of sum 1, with `share` in [0, 1) of the annealing
    done (the authors' code)."""
    early = max(1 - share, 0.03) / max(steps, 1)
    return [early] * (steps - 1) + [1 - (steps - 1) * early] * min(steps, 1)
