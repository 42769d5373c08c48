"""Advantages of one task's episodes: the baseline, generalized advantage estimation, scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlmaml import value_baseline
from rlmaml.errors import ConfigError
from rlmaml.returns import discounted_sum, generalized_advantages, normalize
from rlmaml.types import Episodes
from rlmaml.values import check_values


@dataclass(frozen=True)
class AdvantageConfig:
    """The estimate of advantages, for each task from its own episodes."""

    discount: float = 0.99
    """Discount factor γ per time step."""
    gae_lambda: float = 1.0
    """λ of generalized advantage estimation; 1 is the Monte-Carlo return minus the baseline."""
    bootstrap: bool = False
    """At a time limit, go on with the baseline's value. Off is the MAML paper's convention and
    agrees with the baseline, which sees the time and is fitted on returns up to the limit."""
    baseline: Literal["linear", "cross-fitted", "none"] = "linear"
    """Baseline that is subtracted from returns: a linear function of observation and time, fitted
    on the episodes themselves; the same, for each fifth of them fitted on the other four; or
    nothing. The first explains away a part of what the actions did, the others add no bias."""
    normalize: bool = True
    """Shift and scale each task's advantages to mean 0, standard deviation 1. Off, steps shrink as
    there is less to gain; the inner step size then refers to the reward's units."""

    def __post_init__(self) -> None:
        check_values(self, "advantages: ")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"advantages: {name} must lie in [0, 1], got {getattr(self, name)}."
                )
        if self.bootstrap and self.baseline == "none":
            raise ConfigError(
                "advantages: bootstrap goes on with the baseline's value, and baseline is none. "
                "Take baseline linear, or bootstrap False."
            )


def estimate_advantages(episodes: Episodes, config: AdvantageConfig) -> Episodes:
    """Fill in `values` and `advantages` of one task's episodes, by `values_and_advantages`."""
    values, advantages = values_and_advantages(episodes, config)
    return episodes._replace(values=values, advantages=advantages)


def values_and_advantages(episodes: Episodes, config: AdvantageConfig) -> tuple[Tensor, Tensor]:
    """Estimate the values and the advantages [B, T] of one task's episodes.

    The baseline is fitted on the same episodes that it serves (Duan et al. 2016), or, cross-fitted,
    on others of the task. An episode whose simulation diverged always goes on with the baseline's
    value, and the baseline is not fitted on its cut-off returns (unless there is nothing else):
    otherwise diverging would pay wherever rewards are negative, as it does without a baseline.
    """
    rewards, mask = episodes.rewards, episodes.mask
    values, final = torch.zeros_like(rewards), torch.zeros_like(episodes.terminated)
    if config.baseline != "none":
        diverged = episodes.diagnostics["diverged"].amax(1)
        fit = value_baseline.fit if config.baseline == "linear" else value_baseline.cross_fit
        values, final = _linear_baseline(episodes, config.discount, diverged, fit)
        final = final * (1 - episodes.terminated if config.bootstrap else diverged)
    advantages = generalized_advantages(
        rewards,
        values,
        mask,
        discount=config.discount,
        gae_lambda=config.gae_lambda,
        final_values=final,
    )
    if config.normalize:
        advantages = normalize(advantages, mask)
    return values * mask, advantages


def _linear_baseline(
    episodes: Episodes, discount: float, diverged: Tensor, fit: Callable[..., value_baseline.Linear]
) -> tuple[Tensor, Tensor]:
    """Values of the observations [B, T] and of the final ones [B], of one task."""
    rewards, mask = episodes.rewards, episodes.mask
    steps = torch.arange(rewards.shape[1], device=rewards.device)
    features = value_baseline.features(episodes.observations, steps)
    returns = discounted_sum(rewards, discount)
    whole = (1 - diverged) * mask.amax(1)
    whole = torch.where(whole.amax() > 0, whole, torch.ones_like(whole))
    fitted = fit(features, returns, mask * whole.unsqueeze(-1))
    values = value_baseline.predict(fitted, features).to(rewards.dtype)
    ends = value_baseline.features(episodes.final_observations[:, None], mask.sum(1, keepdim=True))
    final = value_baseline.predict(fitted, ends)[:, 0].to(rewards.dtype)
    return values, final
