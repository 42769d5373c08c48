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


FOLDS = 5


def cross_fit(
    features: Tensor, returns: Tensor, mask: Tensor, *, folds: int = FOLDS, ridge: float = 1e-5
) -> Tensor:
    """For every episode, `fit` to the episodes of the other folds: weights [B, F], float64.

    A baseline that has not seen an episode's actions leaves its policy gradient unbiased, and it
    cannot explain by its many features what those actions brought about.

    Args:
        features: [B, T, F], float64.
        returns, mask: [B, T].
        folds: of which episodes 0, 1, 2 ... are members in turn; as many as there are episodes
            where these are fewer.
    """
    count = len(features)
    members = torch.arange(count, device=features.device) % min(folds, count)
    own = (members[:, None] == members).double()  # [B, B], 1 for those of the same fold
    x = features * mask.unsqueeze(-1)
    y = (returns * mask).double()
    gram, moment = x.mT @ x, (x.mT @ y.unsqueeze(-1)).squeeze(-1)  # of each episode
    fold = own[: min(folds, count)]  # the first of each fold stands for it
    gram = gram.sum(0) - (fold @ gram.flatten(1)).view(-1, *gram.shape[1:])
    moment = moment.sum(0) - fold @ moment
    gram = gram + ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve_ex(gram, moment.unsqueeze(-1)).result.squeeze(-1)
    return weights[members]


def predict(weights: Tensor, features: Tensor) -> Tensor:
    """Values [B, T], in the features' precision, by weights [F], or [B, F], for each episode."""
    return (features @ weights.unsqueeze(-1)).squeeze(-1)
