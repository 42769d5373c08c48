"""The estimator g_k by enumeration: its bias against (7), its second moment against (8).

Given w, G_i is linear in what D_o and D_h show, so that its expectation over them needs none of
them, and that of its square only their variance: two values of each noise, ±1/√D, are as good as
all 2^D. Of D_in all (D_in + 1)² different means of (ξ, ζ) are taken, with their binomial
probabilities. Losses are sums over coordinates, and so coordinate j of G_i depends on coordinate
j of the noise alone: one enumeration serves all.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlmaml.types import MetaBatch
from runners.studies.convergence import bounds
from runners.studies.convergence.descent import exactly
from runners.studies.convergence.problems import Cosines, Family, Samples, estimates

ROWS = 100_000
"""Estimates in one stacked computation."""


class Outcomes(NamedTuple):
    """All values that the mean noise of D samples has, by coordinate, and their probabilities."""

    gradient_noise: Tensor  # [C]
    hessian_noise: Tensor  # [C]
    probability: Tensor  # [C]


def every_mean(count: int) -> Outcomes:
    """Of D = count samples: (D + 1)² outcomes, binomial."""
    heads = torch.arange(count + 1, dtype=torch.float64)
    log = math.lgamma(count + 1) - torch.lgamma(heads + 1) - torch.lgamma(count - heads + 1)
    probability = (log - count * math.log(2)).exp()
    mean = 2 * heads / count - 1
    first, second = (grid.flatten() for grid in torch.meshgrid(mean, mean, indexing="ij"))
    return Outcomes(first, second, torch.outer(probability, probability).flatten())


def two_points(count: int, *, slope: bool = True) -> Outcomes:
    """±1/√D: the same mean and variance as every mean of D = count samples, in 4 outcomes; in 2
    where the slope's noise does not matter, as for Hessians."""
    values = ((-1.0, 1.0) if slope else (0.0,)), (-1.0, 1.0)
    signs = torch.tensor(list(itertools.product(*values)), dtype=torch.float64)
    probability = torch.full((len(signs),), 1 / len(signs), dtype=torch.float64)
    slopes, bends = (signs / math.sqrt(count)).T
    return Outcomes(slopes, bends, probability)


def no_noise() -> Outcomes:
    zero = torch.zeros(1, dtype=torch.float64)
    return Outcomes(zero, zero, torch.ones(1, dtype=torch.float64))


class Moments(NamedTuple):
    """Of G_i at one w, over samples and equally likely tasks."""

    mean: Tensor  # [d]  E G_i, which is E g_k
    square: float  # E‖G_i‖²


def moments(
    family: Family,
    w: Tensor,
    step_size: float,
    inner: Outcomes,
    outer: Outcomes,
    hessian: Outcomes,
) -> Moments:
    """Exact moments of the package's own update (3), MAML with `inner.hessian separate`."""
    objective = family.objective("maml", step_size)._replace(chunk_size=ROWS)
    sizes = [len(each.probability) for each in (inner, outer, hessian)]
    index = torch.cartesian_prod(torch.arange(len(family.centers)), *map(torch.arange, sizes))

    def samples(outcomes: Outcomes, which: Tensor) -> Samples:
        shape = (len(which), 1, family.size)
        noise = (field[which].view(-1, 1, 1).expand(shape) for field in outcomes[:2])
        return Samples(family.amplitudes[index[:, 0]], family.centers[index[:, 0]], *noise)

    sets = [samples(each, index[:, k + 1]) for k, each in enumerate((inner, outer, hessian))]
    batch = MetaBatch((sets[0],), sets[1], (sets[2],))
    found = estimates(objective, {"params": {"w": w}}, batch)
    weights = torch.full((len(index),), 1 / len(family.centers), dtype=torch.float64)
    for k, each in enumerate((inner, outer, hessian)):
        weights = weights * each.probability[index[:, k + 1]]
    return Moments(weights @ found, float(weights @ found.square().sum(1)))


def exact_gradient(family: Family, w: Tensor, step_size: float) -> Tensor:
    """∇F(w), equation (5), by the same update on data without noise."""
    return moments(family, w, step_size, no_noise(), no_noise(), no_noise()).mean


SIZES = (1, 4, 16, 64)
"""D_in."""


def family() -> Cosines:
    """Five tasks of two coordinates."""
    return Cosines(
        torch.tensor([0.6, 0.8, 1.0, 0.7, 0.9], dtype=torch.float64),
        torch.tensor(
            [[-1.2, 0.3], [0.9, -0.8], [0.1, 1.3], [-0.5, -1.1], [1.4, 0.6]], dtype=torch.float64
        ),
        gradient_scale=0.8,
        hessian_scale=0.5,
    )


def points(its: Family, step_size: float, seed: int = 0) -> Tensor:
    """Where to look, [25, d]: anywhere on the torus, and where ∇F is zero to rounding or nearly."""
    rng = torch.Generator().manual_seed(seed)
    anywhere = (2 * torch.rand(20, its.size, generator=rng, dtype=torch.float64) - 1) * math.pi
    resting = [exactly(its, "maml", step_size, w, 400, 1.0).w for w in anywhere[:3]]
    near = [w + 1e-2 * torch.randn(its.size, generator=rng, dtype=torch.float64) for w in resting]
    return torch.stack([*anywhere, *resting, *near[:2]])


def moments_study() -> dict[str, Any]:
    """Bias and second moment for every D_in, the worst over w, beside their bounds."""
    its = family()
    constants = its.constants
    size = bounds.largest_step_size(constants)
    where = points(its, size)
    exact = [exact_gradient(its, w, size) for w in where]
    rows = []
    for inner in SIZES:
        every = every_mean(inner)
        found = [
            moments(its, w, size, every, two_points(1), two_points(1, slope=False)) for w in where
        ]
        biases = [float((m.mean - g).norm()) for m, g in zip(found, exact, strict=True)]
        lengths = [float(g.norm()) for g in exact]
        first = [
            float(m.mean.square().sum()) / bounds.first_moment(constants, length, inner)
            for m, length in zip(found, lengths, strict=True)
        ]
        second = [
            m.square / bounds.second_moment(constants, length, inner, 1)
            for m, length in zip(found, lengths, strict=True)
        ]
        rows.append(
            {
                "inner": inner,
                "bias": max(biases),
                "biases": biases,
                "first_order_bound": bounds.first_order_bias(constants, size, inner),
                "second_order_bound": bounds.second_order_bias(constants, size, inner),
                "first_moment_share": max(first),
                "second_moment": max(m.square for m in found),
                "second_moment_share": max(second),
            }
        )
    slopes = np.polyfit(np.log(SIZES), np.log([row["biases"] for row in rows]), 1)[0]  # [25]
    return {
        "constants": constants._asdict(),
        "step_size": size,
        "points": where.tolist(),
        "gradient_norms": [float(g.norm()) for g in exact],
        "rows": rows,
        "slopes": slopes.tolist(),
    }
