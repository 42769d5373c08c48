"""ANIL, almost no inner loop (Raghu et al. 2020, section 4 and equation 2).

    φ = (θ_1, .., θ_{l-1}, θ_l - α ∇_{θ_l} L_i(θ, D_i))

Only the head θ_l adapts, the last layer; the layers before it are the features of all tasks. They
are meta-learned as in MAML, through the adaptation of the head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rlmaml import models
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmSettings
from rlmaml.types import Meta, Params


class ANIL(Algorithm):
    """MAML whose inner steps move the head alone. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        adapts: tuple[str, ...] = ()
        """Names of the parameters that adapt, whole or up to a dot (`mean.4`); empty is the last
        layer, and of a Gaussian policy its log_std too."""

    settings: Settings

    def init_meta(self, params: Params) -> Meta:
        self.adapts(params)  # names that are none are refused now
        return super().init_meta(params)

    def adapts(self, params: Params) -> Iterable[str]:
        return models.head(params, self.settings.adapts)
