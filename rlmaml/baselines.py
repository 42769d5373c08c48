"""The linear feature baseline of Duan et al. 2016, in closed form, one task at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def features(observations: Tensor, times: Tensor) -> Tensor:
    """[o, o², t, t², t³, 1] with o clipped to ±10 and t in hundreds of steps.

    Args:
        observations: [B, T, *obs].
        times: [T] or [B, T], the time step of each observation.

    Returns:
        [B, T, 2·|obs| + 4], float64: the normal equations square the condition number.
    """
    o = observations.double().clamp(-10, 10).flatten(2)
    t = (times.double() / 100).expand(o.shape[:2]).unsqueeze(-1)
    return torch.cat([o, o**2, t, t**2, t**3, torch.ones_like(t)], -1)


def fit(features: Tensor, returns: Tensor, mask: Tensor, *, ridge: float = 1e-5) -> Tensor:
    """Least squares over the valid steps: argmin_w Σ mask (φ·w - R)² + ridge ‖w‖².

    Args:
        features: [B, T, F], float64.
        returns, mask: [B, T].

    Returns:
        w [F], float64.
    """
    x = (features * mask.unsqueeze(-1)).flatten(0, 1)
    y = (returns * mask).double().flatten()
    gram = x.T @ x + ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve_ex(gram, x.T @ y).result


def predict(weights: Tensor, features: Tensor) -> Tensor:
    """Values [B, T], in the features' precision."""
    return features @ weights
