"""Iterations to ‖∇F‖ ≤ ε against ε, on tasks whose losses fall off slowly.

The bound (14) falls like ε⁻². On ψ(z) = (1 + z²)^{-p/2} gradient descent needs about
ε^{-(p+2)/(p+1)} iterations: as near to it as p is to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from runners.studies.convergence import bounds
from runners.studies.convergence.descent import by_samples, exactly, exponent, first_below
from runners.studies.convergence.problems import Constants, SlowTail

POWERS = (0.25, 1.0)
START = 1.5
FACTOR = 2**0.125
"""Between one ε and the next."""
STOCHASTIC_EPS = 0.15


def family(power: float, noise: float = 0.0) -> SlowTail:
    """Two tasks, their tops 0.6 apart, with noise of one scale in slope and in curvature."""
    return SlowTail(
        torch.ones(2, dtype=torch.float64),
        torch.tensor([[-0.3], [0.3]], dtype=torch.float64),
        noise,
        noise,
        power,
    )


@dataclass(frozen=True)
class IterationCounts:
    """T(ε) for several ε, with all data."""

    power: float
    """p."""
    constants: Constants
    step_size: float
    precisions: list[float]
    """ε, falling."""
    iterations: list[int]
    """T(ε)."""
    bound: list[float]
    """Bound of T(ε), (14)."""
    exponent: float
    """s of T ~ ε^{-s}, fitted."""
    expected: float
    """s by the tail of ψ."""
    largest_share_of_bound: float


@dataclass(frozen=True)
class SampledIterations:
    """T(ε) for one ε by samples, with the batch sizes that the theorem asks for."""

    precision: float
    batches: bounds.Batches
    noise: float
    """N of the theorem's floor."""
    iterations: int
    iterations_with_all_data: int
    bound: float
    reached: float
    """‖∇F‖ at the end."""


@dataclass(frozen=True)
class IterationsStudy:
    """T(ε) with all data and by samples."""

    all_data: list[IterationCounts]
    samples: SampledIterations


def iterations_study(steps: int, seed: int = 0) -> IterationsStudy:
    """Count iterations for every power, and by samples.

    Args:
        steps: of gradient descent, at most.
        seed: of the samples.
    """
    return IterationsStudy([measured(power, steps) for power in POWERS], by_theorem(seed=seed))


def measured(
    power: float, steps: int, share: float = bounds.STEP_SHARES["maml"]
) -> IterationCounts:
    """T(ε) of MAML with all data, α = 1/6L and β = share/L(w), for ε with T(ε) > steps/4."""
    tasks = family(power)
    constants = tasks.constants
    size = bounds.largest_step_size(constants)
    start = torch.tensor([START], dtype=torch.float64)
    norms = exactly(tasks, "maml", size, start, steps, share).norms
    last = float(norms[-1]) * (1 + 1e-9)
    count = int((norms[steps // 4] / last).log() / torch.tensor(FACTOR).log())
    precisions = last * FACTOR ** torch.arange(count, -1, -1, dtype=torch.float64)
    counts = first_below(norms, precisions)
    gap = tasks.value(start, size) - tasks.infimum
    limits = [bounds.iterations(constants, size, gap, float(eps)) for eps in precisions]
    return IterationCounts(
        power=power,
        constants=constants,
        step_size=size,
        precisions=precisions.tolist(),
        iterations=counts.tolist(),
        bound=limits,
        exponent=exponent(precisions, counts),
        expected=(power + 2) / (power + 1),
        largest_share_of_bound=max(
            k / limit for k, limit in zip(counts.tolist(), limits, strict=True)
        ),
    )


def by_theorem(precision: float = STOCHASTIC_EPS, seed: int = 0) -> SampledIterations:
    """T(ε) by samples, with the batch sizes that the theorem asks for at ε = precision."""
    tasks = family(1.0, 0.1)
    constants = tasks.constants
    size = bounds.largest_step_size(constants)
    sizes = bounds.batches(constants, size, precision)
    start = torch.tensor([START], dtype=torch.float64)
    limit = bounds.iterations(constants, size, tasks.value(start, size) - tasks.infimum, precision)
    steps, share = int(limit), bounds.STEP_SHARES["maml"]
    rng = torch.Generator().manual_seed(seed)

    def stop(norm: float) -> bool:
        return norm <= precision

    sampled = by_samples(tasks, size, start, steps, share, sizes, rng, stop)
    exact = exactly(tasks, "maml", size, start, steps, share, stop)
    return SampledIterations(
        precision=precision,
        batches=sizes,
        noise=bounds.noise(constants, sizes),
        iterations=len(sampled.norms) - 1,
        iterations_with_all_data=len(exact.norms) - 1,
        bound=limit,
        reached=float(sampled.norms[-1]),
    )


def table(study: IterationsStudy) -> str:
    """The study as text."""
    lines = [
        "Iterations until ‖∇F‖ ≤ ε, all data, β = 1/12L(w).",
        "     p   slope   -(p+2)/(p+1)   smallest ε        T   bound (14)",
    ]
    lines += [
        f"{row.power:6g}{-row.exponent:8.3f}{-row.expected:15.3f}"
        f"{row.precisions[-1]:13.2e}{row.iterations[-1]:9d}{row.bound[-1]:13.2e}"
        for row in study.all_data
    ]
    samples = study.samples
    sizes = ", ".join(f"{name} {size}" for name, size in vars(samples.batches).items())
    lines.append(
        f"By samples, ε = {samples.precision}, p = 1, the theorem's batches ({sizes}): "
        f"T = {samples.iterations}, with all data {samples.iterations_with_all_data}, "
        f"bound {samples.bound:.0f}."
    )
    return "\n".join(lines)
