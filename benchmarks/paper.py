"""What separates the MAML paper's settings from its figure: one change at a time.

    python -m benchmarks.paper [--iterations 20] [--only NAME ...]

Meta-trains cheetah direction with the authors' settings and with each of the changes below, seed 0,
and writes what return after one step each had come to, JSON, CSV and a plot, into --out,
runs/paper-changes. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rlmaml.trpo
from rlmaml import tree
from rlmaml.objective import Objective, over_tasks
from rlmaml.returns import masked_mean
from rlmaml.types import Meta, MetaBatch
from runners import baselines, plots
from runners.config import TrainConfig
from runners.presets import PRESETS
from runners.runfolder import RunFolder, versions, write_csv, write_json

PRESET = "paper-half-cheetah-dir"
LAST = 5
"""Iterations whose mean is reported."""

BASELINE = {"inner_advantages.baseline": None, "outer_advantages.baseline": None}
SHORT = {"inner_advantages.discount": 0.9, "inner_advantages.gae_lambda": 0.9}

CHANGES: dict[str, dict[str, Any]] = {
    "authors'": {},
    "surrogate: LVC": {"inner.surrogate": "lvc"},
    "surrogate: DiCE": {"inner.surrogate": "dice"},
    "baseline: cross-fitted": dict.fromkeys(BASELINE, "cross-fitted"),
    "baseline: none": dict.fromkeys(BASELINE, "none"),
    "inner advantages: γ = λ = .9": SHORT,
    "outer advantages: λ = .95": {"outer_advantages.gae_lambda": 0.95},
    "outer advantages: not scaled": {"outer_advantages.normalise": False},
    "network: tanh": {"policy.activation": "tanh"},
    "weights: actions near zero at first": {"policy.output_gain": 0.1},
    "observations: standardised": {"normalise_observations": True},
    "directions: half and half": {"env.kwargs": {"balanced": True}},
    "world: gymnasium's": {  # its observation, first state and velocity
        "env.id": "rlmaml/HalfCheetahDir-v0",
        "env.kwargs": {"frame_skip": 1, "balanced": False},
    },
    "curvature: on all data": {"trust_region.fisher_fraction": 1.0},
    # Of all data too, since with a part the line search mends the length of the step.
    "curvature: finite differences": {"trust_region.fisher_fraction": 1.0},
    "tanh and cross-fitted": {"policy.activation": "tanh"}
    | dict.fromkeys(BASELINE, "cross-fitted"),
    "tanh and γ = λ = .9": {"policy.activation": "tanh"} | SHORT,
}
"""Options that differ from the preset's, by what the change is called."""

FINITE_DIFFERENCES = "curvature: finite differences"


def finite_differences(
    objective: Objective,
    meta: Meta,
    batch: MetaBatch,
    ref: Any,
    *,
    fraction: float,
    span: float = 1.0,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The authors' curvature product: [∇KL(θ + εv) - ∇KL(θ - εv)] / 2ε, ε = span / ‖θ‖, all data.

    Their span is 1, since a number of slices is passed where a span of 1e-8 or so is expected.
    """
    theta, unravel = tree.ravel(meta)
    step = span / (theta.norm() + 1e-8)

    def gradient(at: torch.Tensor) -> torch.Tensor:
        def kl(data: MetaBatch, old: Any) -> torch.Tensor:
            leaf = at.detach().requires_grad_()
            with torch.enable_grad():
                path = objective.adjoint(objective.inner, unravel(leaf), data.support, data.hessian)
                new = objective.policy(path[-1], data.query.inputs)
                value = masked_mean(old.kl(new), data.query.mask)
                return torch.autograd.grad(value, leaf)[0]

        return over_tasks(kl, 1)(batch, ref.policy).mean(0)

    return lambda v: (gradient(theta + step * v) - gradient(theta - step * v)) / (2 * step)


@contextmanager
def curvature(name: str) -> Any:
    """Train by the authors' products while active, if the change asks for them."""
    ours = rlmaml.trpo.fisher_product
    if name == FINITE_DIFFERENCES:
        rlmaml.trpo.fisher_product = finite_differences
    try:
        yield
    finally:
        rlmaml.trpo.fisher_product = ours


def changed(config: TrainConfig, name: str) -> TrainConfig:
    return config.changed(CHANGES[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--out", type=Path, default=Path("runs/paper-changes"))
    options = parser.parse_args()
    out = options.out
    config = replace(PRESETS[PRESET][1], iterations=options.iterations)
    rows: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[list[dict[str, Any]]]] = {}
    for name in options.only:
        slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-")
        place = RunFolder(out / slug)
        with curvature(name):
            baselines.trained(baselines.prepared(place, changed(config, name)))
        metrics = place.read_metrics()[: options.iterations]
        last = metrics[-LAST:]
        rows[name] = {
            "changed": CHANGES[name],
            "before": float(np.mean([line["return/pre"] for line in last])),
            "after": float(np.mean([line["return/post"] for line in last])),
            "best": float(max(line["return/post"] for line in metrics)),
            "seconds_per_iteration": metrics[-1]["seconds"] / len(metrics),
        }
        curves[name] = [metrics]
        print(f"{name:<50}{rows[name]['before']:>8.1f}{rows[name]['after']:>8.1f}", flush=True)
        result = {
            "preset": PRESET,
            "iterations": options.iterations,
            "mean_of_last": LAST,
            "seed": 0,
            "rows": rows,
            "versions": versions(),
        }
        write_json(out / "changes.json", result)
        header = ("change", "before", "after", "best", "seconds_per_iteration")
        write_csv(
            out / "changes.csv", header, [(n, *(r[k] for k in header[1:])) for n, r in rows.items()]
        )
        plots.compared_curves(curves, out / "changes.png", PRESET)


if __name__ == "__main__":
    main()
