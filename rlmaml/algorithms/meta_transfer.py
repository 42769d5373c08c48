"""MTL, meta-transfer learning (Sun, Liu, Chua and Schiele 2019, section 4.2, equations 3 to 5).

    ψ = (Φ_1 ⊙ W, b + Φ_2)  the trunk,    θ' = θ - α ∇_θ L_i([ψ; θ], D_i)  the head,
    min over Φ_1, Φ_2, θ of  Σ_i L_i([ψ; θ'], D'_i)

W and b were pre-trained and stay as they are. Meta-learned are the head θ that adaptation begins
with and, of every unit or filter of the trunk, a scale Φ_1 (at first 1) and a shift Φ_2 (at first
0): two numbers, where MAML would change all its weights. (Section 4.2 has one scale per filter, as
here; the authors' code one per kernel.) Only the head adapts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlmaml import models
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmSettings
from rlmaml.errors import ConfigError
from rlmaml.types import Meta, MetaBatch, Metrics, Params, State


class MetaTransfer(Algorithm):
    """Scales, shifts and a head over a trunk that stays. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        adapts: tuple[str, ...] = ()
        """Names of the parameters of the head, whole or up to a dot (`mean.4`); empty is the last
        layer, and of a Gaussian policy its log_std too. The others are the trunk."""

    starts_from = "pretraining"

    settings: Settings

    def init_meta(self, params: Params) -> Meta:
        """{"params": trunk and head, "scale": [units] of weights, "shift": of biases}."""
        head = set(self.adapts(params))
        trunk = {name: value for name, value in params.items() if name not in head}
        if not trunk:
            raise ConfigError(
                f"All parameters ({', '.join(params)}) are of the head, so that there is no trunk "
                "to transfer: take a network with hidden layers, or name fewer in "
                "algorithm_settings.adapts. Frozen parameters (requires_grad=False) do not count: "
                "the trunk stays as it is without that."
            )
        scale, shift = {}, {}
        for name, value in trunk.items():
            if name.rpartition(".")[2] == "bias":
                shift[name] = torch.zeros_like(value)
            else:
                scale[name] = value.new_ones(value.shape[models.unit_axis(name)])
        return {"params": params, "scale": scale, "shift": shift}

    def warm_start(self, loaded: Meta, built: Meta) -> Meta:
        """The trunk of a run, and its head where shapes agree: classes may be fewer."""
        taken, own = super().warm_start(loaded, built), built["params"]
        params = dict(taken["params"])
        for name in self.adapts(own):
            if name in params and params[name].shape != own[name].shape:
                params[name] = own[name]
        return {**taken, "params": params}

    def start(self, meta: Meta) -> Params:
        scale, shift = meta["scale"], meta["shift"]

        def acting(name: str, value: Tensor) -> Tensor:
            if name in scale:
                factor = scale[name]
                shape = [1] * value.ndim
                shape[models.unit_axis(name)] = len(factor)
                return value.detach() * factor.view(shape)
            return value.detach() + shift[name] if name in shift else value

        return {name: acting(name, value) for name, value in meta["params"].items()}

    def adapts(self, params: Params) -> Iterable[str]:
        return models.head(params, self.settings.adapts)

    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        new, metrics = super().update(state, batch)
        # The trunk has no gradient, but an optimizer may do more than follow it (weight decay).
        trunk = {name: state.meta["params"][name] for name in _trunk(state.meta)}
        params = {**new.meta["params"], **trunk}
        return new._replace(meta={**new.meta, "params": params}), metrics


def _trunk(meta: Meta) -> list[str]:
    return [*meta["scale"], *meta["shift"]]
