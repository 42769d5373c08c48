"""Losses: `loss(params, data) -> scalar`, for one task.

Policy-gradient surrogates take a mean over the valid time steps of all the task's episodes (or,
with `reduction="episodes"`, sums over episodes and the mean of those), the log-probability of an
action being the sum over its dimensions; supervised losses a mean over examples. The size of an
inner step therefore depends on neither the number of tasks, nor the episode length, nor how many
episodes or examples there are.

The surrogates agree in their gradient at the parameters that sampled, the policy gradient. They
differ in their Hessian, which is what comes back through an inner step: docs/meta_gradients.md.

A supervised loss is the policy gradient's at H = 1 with the targets as actions and an advantage
of 1 each: `cross_entropy` is that, and half of `mse` is that of a Gaussian with σ = 1, up to a
constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor

from rlmaml.distributions import Categorical, Gaussian, required
from rlmaml.errors import ConfigError
from rlmaml.returns import Reduction, reduce
from rlmaml.types import Data, Episodes, Examples, Params, Policy

Loss = Callable[[Params, Data], Tensor]


class Surrogate(Protocol):
    """Makes the policy-gradient loss of a policy."""

    def __call__(self, policy: Policy, reduction: Reduction = "steps") -> Loss: ...


def log_likelihood(policy: Policy, reduction: Reduction = "steps") -> Loss:
    """-mean_t log π(a_t | s_t) Â_t: the inner surrogate of the MAML paper's code.

    Its Hessian is not that of the expected return, not even in expectation: the outer product
    of scores is missing, since the data count as given (Al-Shedivat et al. 2018, Foerster et
    al. 2018).
    """

    def loss(params: Params, episodes: Episodes) -> Tensor:
        log_probs = required(policy(params, episodes.observations)).log_prob(episodes.actions)
        return -reduce(log_probs * episodes.advantages, episodes.mask, reduction)

    return loss


def likelihood_ratio(policy: Policy, reduction: Reduction = "steps") -> Loss:
    """-mean_t [π(a_t | s_t) / π_old(a_t | s_t)] Â_t: TRPO's surrogate (Schulman et al. 2015, 14).

    π_old is the policy that acted; at its parameters every ratio is 1, and all derivatives are
    those of ProMP's low-variance-curvature estimator (LVC, Rothfuss et al. 2019, section 5): the
    Hessian has the outer product of each step's own score, not those across steps. Unbiased at
    H = 1, otherwise biased and of low variance. Away from the parameters of π_old the ratio
    corrects each step for who acted.
    """

    def loss(params: Params, episodes: Episodes) -> Tensor:
        ratio = _log_ratio(policy, params, episodes).exp()
        return -reduce(ratio * episodes.advantages, episodes.mask, reduction)

    return loss


def clipped_ratio(policy: Policy, clip: float, reduction: Reduction = "steps") -> Loss:
    """-mean_t min(ρ_t Â_t, clip(ρ_t, 1-ε, 1+ε) Â_t), ρ_t the likelihood ratio: PPO's surrogate
    (Schulman et al. 2017, equation 7)."""

    def loss(params: Params, episodes: Episodes) -> Tensor:
        ratio = _log_ratio(policy, params, episodes).exp()
        advantages = episodes.advantages
        least = (ratio * advantages).minimum(ratio.clamp(1 - clip, 1 + clip) * advantages)
        return -reduce(least, episodes.mask, reduction)

    return loss


def dice(policy: Policy, reduction: Reduction = "steps") -> Loss:
    """-mean_t (Π_{t'<t} ρ_t') (ρ_t - 1) Â_t, where ρ_t = π(a_t | s_t) / π_old(a_t | s_t).

    DiCE's objective Σ_t ☐(Σ_{t'≤t} log π_t') r_t (Foerster et al. 2018) in the form that takes
    advantages (Loaded DiCE, Farquhar et al. 2019): with Â_t = R_t, the return from t on, the two
    are equal by summation by parts, up to a constant. Derivatives of every order are unbiased for
    those of the expected return. With Â_t = R_t - b_t there is, besides, the control variate
    Σ_t ☐(Σ_{t'<t} log π_t') [1 - ☐(log π_t)] b_t. Its sum is strictly before t: with t in it, its
    derivatives would not have mean zero.

    ☐(x) = exp(x - stop_gradient(x)) is exp(x - x_old) where π_old sampled, in all derivatives.
    Away from there the products correct an episode up to t for who acted, so that a line search
    sees the function whose gradient it follows; over many steps they are noisy.
    """

    def loss(params: Params, episodes: Episodes) -> Tensor:
        log_ratio = _log_ratio(policy, params, episodes)
        # As a product with a matrix, since CUDA's cumulative sums are not deterministic.
        earlier = torch.ones_like(log_ratio[0]).expand(log_ratio.shape[-1], -1).triu(1)
        change = (log_ratio @ earlier).exp() * (log_ratio.exp() - 1)
        return -reduce(change * episodes.advantages, episodes.mask, reduction)

    return loss


def log_trajectory_ratio(policy: Policy) -> Loss:
    """Σ_τ log [p(τ) / p_old(τ)] of all episodes together: 0 where they were sampled, its gradient
    there the score of the whole inner data set."""

    def loss(params: Params, episodes: Episodes) -> Tensor:
        return _log_ratio(policy, params, episodes).sum()

    return loss


def _log_ratio(policy: Policy, params: Params, episodes: Episodes) -> Tensor:
    """log π / π_old of every step [B, T]; 0 on padding, where it could overflow."""
    log_probs = required(policy(params, episodes.observations)).log_prob(episodes.actions)
    return (log_probs - episodes.log_probs) * episodes.mask


SURROGATES: dict[str, Surrogate] = {
    "log-likelihood": log_likelihood,
    "lvc": likelihood_ratio,
    "dice": dice,
}
"""The surrogates that inner steps of reinforcement learning can descend."""


def mse(policy: Policy) -> Loss:
    """Mean squared error of the policy's mean, summed over output dimensions.

    Finn et al. 2017, equation 2. α refers to this, which is twice the negative log-likelihood.
    """

    def loss(params: Params, examples: Examples) -> Tensor:
        predicted = cast(Gaussian, required(policy(params, examples.inputs)))
        if not hasattr(predicted, "mean"):
            raise ConfigError(
                f"The network returns a {type(predicted).__name__}, and squared errors are of a "
                "Gaussian's mean: return a Gaussian, or take losses.cross_entropy."
            )
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
        return -required(policy(params, examples.inputs)).log_prob(examples.targets).mean()

    return loss


def accuracy(policy: Policy) -> Loss:
    """The share of examples whose most probable class is the target. Not to be differentiated."""

    def share(params: Params, examples: Examples) -> Tensor:
        predicted = cast(Categorical, required(policy(params, examples.inputs)))
        return (predicted.logits.argmax(-1) == examples.targets).float().mean()

    return share
