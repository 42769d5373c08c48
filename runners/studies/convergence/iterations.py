"""Iterations to ‖∇F‖ ≤ ε against ε, on tasks whose losses fall off slowly.

The bound (14) falls like ε⁻². On ψ(z) = (1 + z²)^{-p/2} gradient descent needs about
ε^{-(p+2)/(p+1)} iterations: as near to it as p is to zero.
"""

from __future__ import annotations

from typing import Any

import torch

from runners.studies.convergence import bounds
from runners.studies.convergence.descent import by_samples, exactly, exponent, when
from runners.studies.convergence.problems import SlowTail

POWERS = (0.25, 1.0)
START = 1.5
FACTOR = 2**0.125
"""Between one ε and the next."""
STOCHASTIC_EPS = 0.15


def family(power: float, noise: float = 0.0) -> SlowTail:
    """Two tasks, their tops .6 apart, seen through noise of that scale in slope and in bend."""
    return SlowTail(
        torch.ones(2, dtype=torch.float64),
        torch.tensor([[-0.3], [0.3]], dtype=torch.float64),
        noise,
        noise,
        power,
    )


def measured(power: float, steps: int) -> dict[str, Any]:
    """T(ε) of MAML with all data, α = 1/6L and β = 1/12L(w), where T > steps/4."""
    its = family(power)
    constants = its.constants
    size = bounds.largest_step_size(constants)
    start = torch.tensor([START], dtype=torch.float64)
    norms = exactly(its, "maml", size, start, steps, bounds.STEP_SHARES["maml"]).norms
    last = float(norms[-1]) * (1 + 1e-9)
    count = int((norms[steps // 4] / last).log() / torch.tensor(FACTOR).log())
    precisions = last * FACTOR ** torch.arange(count, -1, -1, dtype=torch.float64)
    counts = when(norms, precisions)
    gap = its.value(start, size) - its.infimum
    limits = [bounds.iterations(constants, size, gap, float(eps)) for eps in precisions]
    return {
        "power": power,
        "constants": constants._asdict(),
        "step_size": size,
        "precisions": precisions.tolist(),
        "iterations": counts.tolist(),
        "bound": limits,
        "exponent": exponent(precisions, counts),
        "expected": (power + 2) / (power + 1),
        "largest_share_of_bound": max(
            k / limit for k, limit in zip(counts.tolist(), limits, strict=True)
        ),
    }


def stochastic(precision: float = STOCHASTIC_EPS, seed: int = 0) -> dict[str, Any]:
    """The same by samples, with the batch sizes that the theorem asks for at ε."""
    its = family(1.0, 0.1)
    constants = its.constants
    size = bounds.largest_step_size(constants)
    sizes = bounds.batches(constants, size, precision)
    start = torch.tensor([START], dtype=torch.float64)
    limit = bounds.iterations(constants, size, its.value(start, size) - its.infimum, precision)
    share = bounds.STEP_SHARES["maml"]
    found = by_samples(
        its,
        size,
        start,
        int(limit),
        share,
        sizes,
        torch.Generator().manual_seed(seed),
        lambda norm: norm <= precision,
    )
    exact = exactly(its, "maml", size, start, int(limit), share, lambda norm: norm <= precision)
    return {
        "precision": precision,
        "batches": sizes._asdict(),
        "noise": bounds.noise(constants, sizes),
        "iterations": len(found.norms) - 1,
        "iterations_with_all_data": len(exact.norms) - 1,
        "bound": limit,
        "reached": float(found.norms[-1]),
    }
