"""Losses: `loss(params, data) -> scalar`, for one task.

Policy-gradient surrogates take a mean over the valid time steps of all the task's episodes, the
log-probability of an action being the sum over its dimensions; supervised losses a mean over
examples. The size of an inner step therefore depends on neither the number of tasks, nor the
episode length, nor how many episodes or examples there are.

A supervised loss is the policy gradient's at H = 1 with the targets as actions and an advantage
of 1 each: `cross_entropy` is that, and half of `mse` is that of a Gaussian with σ = 1, up to a
constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rlmaml.returns import masked_mean
from rlmaml.types import Data, Episodes, Examples, Params, Policy

Loss = Callable[[Params, Data], Tensor]


def log_likelihood(policy: Policy) -> Loss:
    """-mean_t log π(a_t | s_t) Â_t: the inner surrogate of the MAML paper's code.

    Its gradient at the sampling parameters is the policy gradient's. Its Hessian is not that
    of the expected return: the score outer product is missing (Al-Shedivat et al. 2018,
    Foerster et al. 2018). It is the default because published step sizes refer to it.
    """

    def loss(params: Params, episodes: Episodes) -> Tensor:
        log_probs = policy(params, episodes.observations).log_prob(episodes.actions)
        return -masked_mean(log_probs * episodes.advantages, episodes.mask)

    return loss


def likelihood_ratio(policy: Policy) -> Loss:
    """-mean_t [π(a_t | s_t) / π_old(a_t | s_t)] Â_t: TRPO's surrogate (Schulman et al. 2015, 14).

    π_old is the policy that acted; at its parameters every ratio is 1.
    """

    def loss(params: Params, episodes: Episodes) -> Tensor:
        log_probs = policy(params, episodes.observations).log_prob(episodes.actions)
        ratio = ((log_probs - episodes.log_probs) * episodes.mask).exp()  # no overflow on padding
        return -masked_mean(ratio * episodes.advantages, episodes.mask)

    return loss


def mse(policy: Policy) -> Loss:
    """Mean squared error of the policy's mean, summed over output dimensions.

    Finn et al. 2017, equation 2. α refers to this, which is twice the negative log-likelihood.
    """

    def loss(params: Params, examples: Examples) -> Tensor:
        predicted: Any = policy(params, examples.inputs)
        if predicted.mean.shape != examples.targets.shape:
            raise ValueError(
                f"Predictions have shape {tuple(predicted.mean.shape)}, targets "
                f"{tuple(examples.targets.shape)}: they must agree, [B, Y] each."
            )
        return (predicted.mean - examples.targets).square().sum(-1).mean()

    return loss


def cross_entropy(policy: Policy) -> Loss:
    """-mean log p(y | x), in nats (Finn et al. 2017, equation 3).

    The mean, where the paper's image code sums over the N classes of an N-way task and divides
    by the shots: what it calls α is N times as large here.
    """

    def loss(params: Params, examples: Examples) -> Tensor:
        return -policy(params, examples.inputs).log_prob(examples.targets).mean()

    return loss


def accuracy(policy: Policy) -> Loss:
    """The share of examples whose most probable class is the target. Not to be differentiated."""

    def share(params: Params, examples: Examples) -> Tensor:
        predicted: Any = policy(params, examples.inputs)
        return (predicted.logits.argmax(-1) == examples.targets).float().mean()

    return share
