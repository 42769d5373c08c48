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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlmaml.types import MetaBatch
from runners.studies.convergence import bounds
from runners.studies.convergence.descent import exactly
from runners.studies.convergence.problems import (
    Constants,
    Cosines,
    Family,
    Samples,
    estimates,
)

ROWS = 100_000
"""Estimates in one stacked computation."""


class Outcomes(NamedTuple):
    """Values of the mean noise of D samples in a coordinate, and their probabilities."""

    gradient_noise: Tensor  # [C]
    hessian_noise: Tensor  # [C]
    probability: Tensor  # [C]


def every_mean(count: int) -> Outcomes:
    """Outcomes of the mean of D = count samples, (D + 1)² of them, binomial."""
    heads = torch.arange(count + 1, dtype=torch.float64)
    log = math.lgamma(count + 1) - torch.lgamma(heads + 1) - torch.lgamma(count - heads + 1)
    probability = (log - count * math.log(2)).exp()
    mean = 2 * heads / count - 1
    first, second = (grid.flatten() for grid in torch.meshgrid(mean, mean, indexing="ij"))
    return Outcomes(first, second, torch.outer(probability, probability).flatten())


def two_points(count: int, *, slope: bool = True) -> Outcomes:
    """Outcomes ±1/√D, with the mean and variance of those of D = count samples.

    They are 4, or 2 without noise of the slope, which does not matter for Hessians.
    """
    values = ((-1.0, 1.0) if slope else (0.0,)), (-1.0, 1.0)
    signs = torch.tensor(list(itertools.product(*values)), dtype=torch.float64)
    probability = torch.full((len(signs),), 1 / len(signs), dtype=torch.float64)
    slopes, bends = (signs / math.sqrt(count)).T
    return Outcomes(slopes, bends, probability)


def no_noise() -> Outcomes:
    """The one outcome of exact data."""
    zero = torch.zeros(1, dtype=torch.float64)
    return Outcomes(zero, zero, torch.ones(1, dtype=torch.float64))


class Moments(NamedTuple):
    """Moments of G_i at one w, over samples and equally likely tasks."""

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
    """Exact moments of the package's own update (3), MAML with `inner.hessian separate`.

    Args:
        family: the tasks.
        w: where, [d].
        step_size: α.
        inner: of the samples of the inner step.
        outer: of those of the outer gradient.
        hessian: of those of the Hessian.
    """
    objective = family.objective("maml", step_size)._replace(chunk_size=ROWS)
    sizes = [len(each.probability) for each in (inner, outer, hessian)]
    index = torch.cartesian_prod(torch.arange(len(family.centers)), *map(torch.arange, sizes))

    def samples(outcomes: Outcomes, which: Tensor) -> Samples:
        shape = (len(which), 1, family.size)
        noise = (field[which].view(-1, 1, 1).expand(shape) for field in outcomes[:2])
        return Samples(family.amplitudes[index[:, 0]], family.centers[index[:, 0]], *noise)

    sets = [samples(each, index[:, k + 1]) for k, each in enumerate((inner, outer, hessian))]
    batch = MetaBatch((sets[0],), sets[1], (sets[2],))
    rows = estimates(objective, {"params": {"w": w}}, batch)
    weights = torch.full((len(index),), 1 / len(family.centers), dtype=torch.float64)
    for k, each in enumerate((inner, outer, hessian)):
        weights = weights * each.probability[index[:, k + 1]]
    return Moments(weights @ rows, float(weights @ rows.square().sum(1)))


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


def points(tasks: Family, step_size: float, seed: int = 0) -> Tensor:
    """Points w to look at, [25, d]: 20 anywhere on the torus, 3 stationary ones, 2 near those."""
    rng = torch.Generator().manual_seed(seed)
    anywhere = (2 * torch.rand(20, tasks.size, generator=rng, dtype=torch.float64) - 1) * math.pi
    resting = [exactly(tasks, "maml", step_size, w, 400, 1.0).w for w in anywhere[:3]]
    near = [w + 1e-2 * torch.randn(tasks.size, generator=rng, dtype=torch.float64) for w in resting]
    return torch.stack([*anywhere, *resting, *near[:2]])


@dataclass(frozen=True)
class SizeResult:
    """Bias and moments for one D_in: the worst over w."""

    inner: int
    """D_in."""
    bias: float
    biases: list[float]
    """At every w."""
    first_order_bound: float
    second_order_bound: float
    first_moment_share: float
    """‖E G‖² as a share of its bound (7)."""
    second_moment: float
    second_moment_share: float
    """E‖G‖² as a share of its bound (8)."""


@dataclass(frozen=True)
class MomentsStudy:
    """Bias and second moment of the estimator beside their bounds."""

    constants: Constants
    step_size: float
    points: list[list[float]]
    """w, [25, d]."""
    gradient_norms: list[float]
    """‖∇F(w)‖."""
    rows: list[SizeResult]
    slopes: list[float]
    """Slope of log bias against log D_in, at every w."""


def moments_study(sizes: Sequence[int] = SIZES) -> MomentsStudy:
    """Measure bias and second moment for every D_in."""
    tasks = family()
    step_size = bounds.largest_step_size(tasks.constants)
    where = points(tasks, step_size)
    exact = [exact_gradient(tasks, w, step_size) for w in where]
    rows = [_with_samples(tasks, where, exact, step_size, inner) for inner in sizes]
    slopes = np.polyfit(np.log(sizes), np.log([row.biases for row in rows]), 1)[0]  # [25]
    return MomentsStudy(
        tasks.constants,
        step_size,
        where.tolist(),
        [float(gradient.norm()) for gradient in exact],
        rows,
        slopes.tolist(),
    )


def _with_samples(
    tasks: Family, where: Tensor, exact: list[Tensor], step_size: float, inner: int
) -> SizeResult:
    """The result for one D_in; `exact` is ∇F at each w of `where`."""
    constants, means = tasks.constants, every_mean(inner)
    outer, hessian = two_points(1), two_points(1, slope=False)
    at = [moments(tasks, w, step_size, means, outer, hessian) for w in where]
    biases = [float((m.mean - gradient).norm()) for m, gradient in zip(at, exact, strict=True)]
    lengths = [float(gradient.norm()) for gradient in exact]
    first = [
        float(m.mean.square().sum()) / bounds.first_moment(constants, length, inner)
        for m, length in zip(at, lengths, strict=True)
    ]
    second = [
        m.square / bounds.second_moment(constants, length, inner, 1)
        for m, length in zip(at, lengths, strict=True)
    ]
    return SizeResult(
        inner=inner,
        bias=max(biases),
        biases=biases,
        first_order_bound=bounds.first_order_bias(constants, step_size, inner),
        second_order_bound=bounds.second_order_bias(constants, step_size, inner),
        first_moment_share=max(first),
        second_moment=max(m.square for m in at),
        second_moment_share=max(second),
    )


def table(study: MomentsStudy) -> str:
    """The study as text."""
    lines = [
        "The estimator g against ∇F, exactly: the worst of 25 points w, near-stationary ones too.",
        "  D_in      bias   first-order bound   second-order bound   (7)     (8)",
    ]
    lines += [
        f"{row.inner:6d}{row.bias:10.2e}{row.first_order_bound:20.2e}"
        f"{row.second_order_bound:21.2e}{row.first_moment_share:7.2f}{row.second_moment_share:8.2f}"
        for row in study.rows
    ]
    low, high = min(study.slopes), max(study.slopes)
    lines.append(
        f"Slope of the bias in D_in: {low:.3f} to {high:.3f}. (7), (8): left over right side."
    )
    return "\n".join(lines)
