"""Policy-gradient surrogates: `loss(params, episodes) -> scalar`, for one task.

Every mean is over the valid time steps of all the task's episodes, the log-probability of an
action being the sum over its dimensions. The size of an inner step therefore depends on
neither the number of tasks, nor the episode length, nor the action dimension.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rlmaml.returns import masked_mean
from rlmaml.types import Episodes, Params, Policy

Loss = Callable[[Params, Episodes], Tensor]


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
