"""Pre-training: one model for all tasks, then fine-tuning (Finn et al. 2017, section 5.1).

    θ = argmin Σ_i L_i(θ, D'_i);    on a new task  φ_{k+1} = φ_k - α ∇L(φ_k, D),  φ_0 = θ

What MAML is compared with (Finn, Abbeel and Levine 2017, section 5.1, "pretrained on all tasks").
Training takes no inner steps; `inner` is how a new task is fine-tuned to. Where the labels of a
class differ from task to task there is nothing to learn jointly: `classes` trains on the classes
themselves, each under a label of its own, and fine-tunes with a new head, as in the transfer
baseline of Chen et al. 2019 (section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from rlmaml import models
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, DataSpec
from rlmaml.errors import ConfigError
from rlmaml.types import Data, Meta, Params


class Pretraining(Algorithm):
    """Joint training, and gradient steps only in evaluation. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        classes: bool = False
        """Train on the training classes themselves (classification), each under its own label in
        all tasks; the first step on a new task then begins with a head of zeros."""

    requires: ClassVar[Requires] = {"support-hessian": "it does not differentiate its inner steps."}
    settings: Settings

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        super().check(context)
        if context.from_rewards and context.settings.classes:
            raise ConfigError(
                "algorithm_settings.classes trains on labeled classes, but the run learns from "
                "episodes: leave it out, or take data examples."
            )

    @property
    def data_spec(self) -> DataSpec:
        return DataSpec(steps=0, class_labels=self.settings.classes)

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        if self.settings.classes and k == 0:  # the head is that of other classes
            new = {name: torch.zeros_like(params[name]) for name in models.head(params)}
            params = {**params, **new}
        return super().step(meta, params, data, k)
