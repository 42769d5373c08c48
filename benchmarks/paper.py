"""Changes that make a row of the MAML paper's table, one at a time.

    python -m benchmarks.paper changes [--iterations 20] [--only NAME ...]
    python -m benchmarks.paper returns [--iterations 60] [--only NAME ...]

`changes` meta-trains cheetah direction with the authors' settings, but curvature on a tenth of the
episodes, and with each of some changes to them; `returns` meta-trains cheetah velocity with our
settings and with each of them put back to the authors'. Seed 0 alone. What the return after one
step had come to in the last iterations goes, as JSON, CSV and a plot, to --out, runs/paper-changes
or -returns. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import rlmaml.outer.trust_region
from rlmaml import tree
from rlmaml.objective import Objective, over_tasks
from rlmaml.returns import masked_mean
from rlmaml.types import Meta, MetaBatch
from runners.evaluation import baselines
from runners.io import versions, write_csv, write_json
from runners.presets import PRESETS
from runners.run_dir import RunDir
from runners.training import plots

FINITE_DIFFERENCES = "curvature: finite differences"

BASELINE = ("inner_advantages.baseline", "outer_advantages.baseline")
CROSS_FITTED, LINEAR = (dict.fromkeys(BASELINE, kind) for kind in ("cross-fitted", "linear"))
SHORT = {"inner_advantages.discount": 0.9, "inner_advantages.gae_lambda": 0.9}
LONG = {"inner_advantages.discount": 0.99, "inner_advantages.gae_lambda": 1.0}
TANH = {"policy.activation": "tanh"}


class Study(NamedTuple):
    """Settings, and options that differ from them, by what the change is called."""

    preset: str
    base: dict[str, Any]  # options that differ from the preset's throughout
    iterations: int
    last: int  # iterations whose mean is reported
    changes: dict[str, dict[str, Any]]


STUDIES = {
    "changes": Study(
        "paper-half-cheetah-dir",
        {"trust_region.fisher_fraction": 0.1},  # in half of the time
        20,
        5,
        {
            "authors'": {},
            "surrogate: LVC": {"inner.surrogate": "lvc"},
            "surrogate: DiCE": {"inner.surrogate": "dice"},
            "baseline: cross-fitted": CROSS_FITTED,
            "baseline: none": dict.fromkeys(BASELINE, "none"),
            "inner advantages: γ = λ = .9": SHORT,
            "inner advantages: not scaled, α = .2": {
                "inner_advantages.normalize": False,
                "inner.step_size": 0.2,
            },
            "outer advantages: λ = .95": {"outer_advantages.gae_lambda": 0.95},
            "outer advantages: not scaled": {"outer_advantages.normalize": False},
            "network: tanh": TANH,
            "weights: actions near zero at first": {"policy.output_gain": 0.1},
            "observations: standardized": {"normalize_observations": True},
            "directions: half and half": {"env.kwargs": {"balanced": True}},
            "world: gymnasium's": {  # its observation, first state and velocity
                "env.id": "rlmaml/HalfCheetahDir-v0",
                "env.kwargs": {"frame_skip": 1, "balanced": False},
            },
            # With a part of the data the line search mends the step's length; here it does not.
            "curvature: on all data": {"trust_region.fisher_fraction": 1.0},
            FINITE_DIFFERENCES: {"trust_region.fisher_fraction": 1.0},
            "tanh and cross-fitted": TANH | CROSS_FITTED,
            "tanh and γ = λ = .9": TANH | SHORT,
        },
    ),
    "returns": Study(
        "paper-half-cheetah-vel-ours",
        {},
        60,
        10,
        {
            "ours": {},
            "network: ReLU": {"policy.activation": "relu"},
            "observations: as they are": {"normalize_observations": False},
            "inner advantages: scaled, α = .1": {
                "inner_advantages.normalize": True,
                "inner.step_size": 0.1,
            },
            "inner advantages: γ = .99, λ = 1": LONG,
            "outer advantages: λ = 1": {"outer_advantages.gae_lambda": 1.0},
            "outer advantages: scaled": {"outer_advantages.normalize": True},
            "weights: actions anywhere at first": {"policy.output_gain": 1.0},
            "baseline: on its own episodes": LINEAR,
            "surrogate: log-likelihood": {"inner.surrogate": "log-likelihood"},
            "goals: each by itself": {"env.kwargs": {}},
            "40 tasks of 10 episodes": {"tasks": 40, "episodes": 10},
        },
    ),
}


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
    ours = rlmaml.outer.trust_region.fisher_product
    if name == FINITE_DIFFERENCES:
        rlmaml.outer.trust_region.fisher_product = finite_differences
    try:
        yield
    finally:
        rlmaml.outer.trust_region.fisher_product = ours


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--iterations", type=int, default=None)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    study = STUDIES[options.study]
    names = options.only or list(study.changes)
    if unknown := set(names) - set(study.changes):
        parser.error(f"no such change: {', '.join(unknown)}; there are {', '.join(study.changes)}")
    out = options.out or Path(f"runs/paper-{options.study}")
    iterations = options.iterations or study.iterations
    config = PRESETS[study.preset][1].changed({**study.base, "iterations": iterations})
    rows: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[list[dict[str, Any]]]] = {}
    for name in names:
        slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-")
        folder = RunDir(out / slug)
        with curvature(name):
            baselines.trained(baselines.prepared(folder, config.changed(study.changes[name])))
        metrics = folder.read_metrics()[:iterations]
        last = metrics[-study.last :]
        rows[name] = {
            "changed": study.changes[name],
            "before": float(np.mean([line["return/pre"] for line in last])),
            "after": float(np.mean([line["return/post"] for line in last])),
            "best": float(max(line["return/post"] for line in metrics)),
            "seconds_per_iteration": metrics[-1]["seconds"] / len(metrics),
        }
        curves[name] = [metrics]
        print(f"{name:<50}{rows[name]['before']:>8.1f}{rows[name]['after']:>8.1f}", flush=True)
        result = {
            "preset": study.preset,
            "base": study.base,
            "iterations": iterations,
            "mean_of_last": study.last,
            "seed": 0,
            "rows": rows,
            "versions": versions(),
        }
        write_json(out / f"{options.study}.json", result)
        header = ("change", "before", "after", "best", "seconds_per_iteration")
        write_csv(
            out / f"{options.study}.csv",
            header,
            [(n, *(r[k] for k in header[1:])) for n, r in rows.items()],
        )
        plots.compared_curves(curves, out / f"{options.study}.png", study.preset)


if __name__ == "__main__":
    main()
