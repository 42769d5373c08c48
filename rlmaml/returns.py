"""Returns and advantages of padded episodes [B, T]."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["steps", "episodes"]
"""Reduction of a task's steps to one number: their mean, or their sum over an episode and the mean
over episodes, which is the mean times the episodes' mean length."""


_BLOCK = 128


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of x over the entries where mask is 1 (0 if there are none). Shapes equal."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def episode_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of x [..., B] over episodes that have a step, by their mask [..., B, T]."""
    there = mask.amax(-1)
    return (x * there).sum(-1) / there.sum(-1).clamp(min=1)


def reduce(x: Tensor, mask: Tensor, reduction: Reduction = "steps") -> Tensor:
    """One number from the valid steps of B episodes. Shapes equal, [B, T]."""
    if reduction == "episodes":
        return episode_mean((x * mask).sum(-1), mask)
    return masked_mean(x, mask)


def discounted_sum(x: Tensor, discount: float) -> Tensor:
    """y_t = x_t + discount · y_{t+1} along the last axis; x and y are [..., T].

    Blocks of steps by a product with the matrix of discount^(s-t), s ≥ t, where a recursion takes
    two operations a step. In float64, whatever precision products of float32 may have.
    """
    steps = torch.arange(min(x.shape[-1], _BLOCK), device=x.device)
    powers = discount ** steps.double()
    matrix = powers[(steps[:, None] - steps).clamp(min=0)].tril()
    blocks: list[Tensor] = []
    following = torch.zeros_like(x[..., :1], dtype=torch.float64)
    for block in reversed(x.double().split(_BLOCK, -1)):
        length = block.shape[-1]
        decayed = discount * powers[:length].flip(0) * following
        blocks.append(block @ matrix[:length, :length] + decayed)
        following = blocks[-1][..., :1]
    return torch.cat(blocks[::-1], -1).to(x.dtype)


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    discount: float,
    gae_lambda: float,
    final_values: Tensor | None = None,
) -> Tensor:
    """Generalized advantage estimation, Schulman et al. 2016, equation 16.

    Args:
        rewards, values, mask: [B, T]; the mask is 1 up to the episode's end, then 0.
        final_values: [B], the value of the state after the last valid step: 0 where the
            episode truly ended. None: 0 everywhere, which treats a time limit as an end (the
            convention of the MAML paper's code, at home with a baseline that sees the time).

    Returns:
        Advantages [B, T], 0 on padding.
    """
    valid = mask > 0
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    last = valid & ~torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], 1)
    end = torch.zeros_like(rewards) if final_values is None else final_values[:, None]
    following = torch.where(last, end, following)
    deltas = (rewards + discount * following - values) * mask
    return discounted_sum(deltas, discount * gae_lambda) * mask


def normalize(x: Tensor, mask: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the valid entries to mean 0, standard deviation 1; 0 on padding.

    The standard deviation is the population's (divided by the count), as in NumPy.
    """
    centered = (x - masked_mean(x, mask)) * mask
    return centered / (masked_mean(centered**2, mask).sqrt() + epsilon)
