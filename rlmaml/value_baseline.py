"""The linear feature baseline of Duan et al. 2016, in closed form, one task at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlmaml.errors import ConfigError
from rlmaml.profiling import one_thread

SQUARED = 200
"""The most numbers of an observation whose squares are features too. Time grows with the square of
features: a humanoid's 348 numbers cost a task .11 s to fit to with squares, .03 s without."""


def features(observations: Tensor, times: Tensor) -> Tensor:
    """[o, o², t, t², t³, 1] with o clipped to ±10 and t in hundreds of steps.

    Without o² where an observation has more than `SQUARED` numbers.

    Args:
        observations: [B, T, *obs].
        times: [T] or [B, T], the time step of each observation.

    Returns:
        [B, T, 2·|obs| + 4] or [B, T, |obs| + 4], float64: the normal equations square the condition
        number.
    """
    o = observations.double().clamp(-10, 10).flatten(2)
    t = (times.double() / 100).expand(o.shape[:2]).unsqueeze(-1)
    squares = [o**2] if o.shape[-1] <= SQUARED else []
    return torch.cat([o, *squares, t, t**2, t**3, torch.ones_like(t)], -1)


class Linear(NamedTuple):
    """A fitted baseline, for all of a task's episodes or one for each of them."""

    weights: Tensor  # [F] or [B, F], float64
    low: Tensor  # [] or [B]  the least and
    high: Tensor  # [] or [B]  the largest value that it may predict


def fit(features: Tensor, returns: Tensor, mask: Tensor, *, ridge: float = 1e-5) -> Linear:
    """Least squares over the valid steps: argmin_w Σ mask (φ·w - R)² + ridge ‖w‖².

    Args:
        features: [B, T, F], float64.
        returns, mask: [B, T].
    """
    x = (features * mask.unsqueeze(-1)).flatten(0, 1)
    y = (returns * mask).double().flatten()
    limit = torch.full((), torch.inf, dtype=x.dtype, device=x.device)
    return Linear(_solve(x.T @ x, x.T @ y, ridge), -limit, limit)


def _solve(gram: Tensor, moment: Tensor, ridge: float) -> Tensor:
    """(gram + ridge I)⁻¹ moment of matrices [..., F, F] and vectors [..., F]."""
    gram = gram + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # In two threads oneMKL never comes back from several matrices of an ant's size at once.
    with one_thread():
        return torch.linalg.solve_ex(gram, moment.unsqueeze(-1)).result.squeeze(-1)


def cross_fit(
    features: Tensor, returns: Tensor, mask: Tensor, *, folds: int = 5, ridge: float = 10.0
) -> Linear:
    """Fit, for every episode, to the episodes of the other folds (as Chernozhukov et al. 2018).

    A baseline that has not seen an episode's actions leaves its policy gradient unbiased, and it
    cannot explain away what they brought about. It has to extrapolate, though: hence a ridge that
    counts, for features of order 1, and predictions no further than the returns it was fitted on.

    Args:
        features: [B, T, F], float64.
        returns, mask: [B, T].
        folds: of which episodes 0, 1, 2 ... are members in turn; as many as there are episodes
            where these are fewer.

    Raises:
        ConfigError: fewer than two episodes, or folds.
    """
    count = len(features)
    folds = min(folds, count)
    if folds < 2:
        raise ConfigError(
            f"A cross-fitted baseline needs two episodes and two folds, got {count} and {folds}."
        )
    members = torch.arange(count, device=features.device) % folds
    own = members[:, None] == members  # [B, B], of the same fold
    x = features * mask.unsqueeze(-1)
    y = (returns * mask).double()
    gram, moment = x.mT @ x, (x.mT @ y.unsqueeze(-1)).squeeze(-1)  # of each episode
    fold = own[:folds].double()  # the first of each fold stands for it
    gram = gram.sum(0) - (fold @ gram.flatten(1)).view(-1, *gram.shape[1:])
    moment = moment.sum(0) - fold @ moment
    weights = _solve(gram, moment, ridge)
    least = torch.where(mask > 0, y, torch.inf).amin(1)
    most = torch.where(mask > 0, y, -torch.inf).amax(1)
    return Linear(
        weights[members],
        torch.where(own, torch.inf, least).amin(1),
        torch.where(own, -torch.inf, most).amax(1),
    )


def predict(fitted: Linear, features: Tensor) -> Tensor:
    """Values [B, T] of features [B, T, F], in their precision."""
    values = (features @ fitted.weights.unsqueeze(-1)).squeeze(-1)
    # Where there was nothing to fit, low is above high.
    low, high = fitted.low.unsqueeze(-1), fitted.high.unsqueeze(-1)
    return torch.where(low <= high, values.clamp(low, high), 0.0)
