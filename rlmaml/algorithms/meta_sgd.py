"""Meta-SGD (Li, Zhou, Chen and Li 2017, section 3, algorithms 1 and 2): a step size per parameter.

    φ_{k+1} = φ_k - α ∘ ∇L_i(φ_k, D_k),    min over θ and α of  Σ_i L_i(φ_i, D'_i)

α has the shape of θ and is learned with it, so it gives the direction of a step as well as its
length. No sign is imposed, as in the paper. The outer step takes both together: an optimizer, or a
trust region, in whose curvature dφ/dα stands beside dφ/dθ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from rlmaml import tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import STEP_SIZE_NEEDS_SUPPORT, Requires
from rlmaml.algorithms.settings import AlgorithmSettings, Overrides, RunConfig
from rlmaml.errors import ConfigError
from rlmaml.types import Data, Meta, Params


class MetaSGD(Algorithm):
    """MAML with a learned step size for every parameter. Arguments as of `Algorithm`."""

    @dataclass(frozen=True)
    class Settings(AlgorithmSettings):
        limits: ClassVar[dict[str, float]] = {"seed": 2**63 - 1}

        spread: float = 0.0
        """The step sizes begin between inner.step_size times 1 - spread and 1 + spread, drawn
        uniformly; the paper's range, 0.005 to 0.1, is a step_size of 0.0525 with a spread of
        0.905."""
        seed: int = 0
        """Draws them."""

        def __post_init__(self) -> None:
            if not 0 <= self.spread < 1:
                raise ConfigError(
                    f"algorithm_settings.spread must be at least 0 and below 1, got {self.spread}."
                )

    requires: ClassVar[Requires] = {"support-hessian": STEP_SIZE_NEEDS_SUPPORT}
    settings: Settings

    @classmethod
    def learns_step_sizes(cls, settings: AlgorithmSettings) -> bool:
        return True

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        # Learned steps are long enough to solve a task in K of them, so one more as long leaves it:
        # sinusoids came to 1e26 in four steps, and with a tenth stay where the first took them.
        share = min(config.inner.later_step_share, 0.1)
        return super().default_overrides(config, settings) | {"inner.later_step_share": share}

    def init_meta(self, params: Params) -> Meta:
        rng = torch.Generator("cpu").manual_seed(self.settings.seed)
        drawn = {"generator": rng, "dtype": torch.float64, "device": "cpu"}
        low, width = 1 - self.settings.spread, 2 * self.settings.spread

        def rates(value: torch.Tensor) -> torch.Tensor:
            factor = low + width * torch.rand(value.shape, **drawn)
            return (self.inner_config.step_size * factor).to(value)

        return {"params": params, "rates": tree.map(rates, params)}

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        gradient = tree.grad(self.inner_loss)(params, data)
        return tree.map(lambda p, r, g: p - r * g, params, meta["rates"], gradient)
