"""What regressions know of their own errors: likelihood, and intervals that hold what they claim.

    python -m benchmarks.calibration RUN [RUN ...] [--steps K] [--out FILE]

A prediction is a Gaussian around a run's mean. Its variance is σ² + κ s², where s² is by how much
particles disagree (Bayesian MAML), and 0 for other runs. σ and κ are chosen on validation tasks, by
likelihood; everything that is told is of test tasks:

    nll        mean negative log-likelihood of a query, nats
    coverage   share of queries within the central interval that claims 90 %; for the tenth of
               queries with the narrowest and the widest of intervals too
    rmse       root of the mean squared error

The support set of a task has as many shots as in training, or --shots, and inputs from all of the
family's range, or from its lower half (--half): then what is asked elsewhere is a guess, which who
knows of his errors says.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import optimize, stats

import rlmaml
from rlmaml.distributions import Gaussian
from runners.environments import build_experiment
from runners.evaluation import statistics
from runners.io import command, versions, write_json
from runners.workers import closed

TASKS, QUERIES, CLAIMED = 600, 50, 0.9


class Predictions(NamedTuple):
    """Predictions of queries [N, Q]."""

    mean: np.ndarray
    disagreement: np.ndarray  # variance between particles
    targets: np.ndarray

    def variance(self, sigma: float, kappa: float) -> np.ndarray:
        return sigma**2 + kappa * self.disagreement

    def nll(self, sigma: float, kappa: float) -> np.ndarray:
        """Of each query, in nats."""
        variance = self.variance(sigma, kappa)
        return 0.5 * (np.log(2 * np.pi * variance) + (self.targets - self.mean) ** 2 / variance)


def predicted(
    learner: rlmaml.Learner,
    family: Any,
    split: str,
    *,
    seed: int,
    steps: int | None,
    shots: int | None,
    half: bool,
) -> Predictions:
    """Predictions of a run for tasks of a split, each adapted to by itself."""
    rng = np.random.default_rng([seed, split == "validation"])
    count = shots or learner.config.examples.shots
    rows = []
    for task in family.sample(TASKS, rng, split):
        many = 20 * count if half else count
        (x, y), (asked, answers) = family.episode(task[None], many, QUERIES, rng)
        x, y, asked, answers = x[0], y[0], asked[0], answers[0]
        if half:
            kept = np.argsort(x[:, 0] > np.median(asked), kind="stable")[:count]
            x, y = x[kept], y[kept]
        outputs = learner.adapt(x, y, steps=steps).distribution(asked)
        assert isinstance(outputs, Gaussian)
        variance = (2 * outputs.log_std).exp()
        rows.append((outputs.mean[:, 0], variance[:, 0] - 1, torch.from_numpy(answers[:, 0])))
    return Predictions(*(torch.stack(part).double().numpy() for part in zip(*rows, strict=True)))


def fitted(known: Predictions) -> tuple[float, float]:
    """σ and κ of the greatest likelihood; κ = 0 where nothing disagrees."""
    varies = known.disagreement.max() > 1e-6

    def loss(x: np.ndarray) -> float:
        return float(known.nll(math.exp(x[0]), math.exp(x[1]) if varies else 0.0).mean())

    start = np.array([0.5 * math.log(np.mean((known.targets - known.mean) ** 2)), 0.0])
    found = optimize.minimize(loss, start, method="Nelder-Mead")
    return math.exp(found.x[0]), math.exp(found.x[1]) if varies else 0.0


def calibration(known: Predictions, new: Predictions) -> dict[str, float]:
    """Figures of one run; σ and κ are of `known`, the rest of `new`."""
    sigma, kappa = fitted(known)
    width = stats.norm.ppf(0.5 + CLAIMED / 2) * np.sqrt(new.variance(sigma, kappa))
    error = np.abs(new.targets - new.mean)
    within = error <= width
    order = np.argsort(width.ravel(), kind="stable")
    tenth = len(order) // 10
    sharp, wide = (within.ravel()[rows].mean() for rows in (order[:tenth], order[-tenth:]))
    return {
        "sigma": sigma,
        "kappa": kappa,
        "nll": float(new.nll(sigma, kappa).mean()),
        "coverage": float(within.mean()),
        "coverage, narrowest tenth": float(sharp),
        "coverage, widest tenth": float(wide),
        "rmse": float(np.sqrt(np.mean(error**2))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, help="inner steps; as in training if not given")
    parser.add_argument("--shots", type=int, help="as in training if not given")
    parser.add_argument("--half", action="store_true", help="shots of the lower half alone")
    parser.add_argument("--seed", type=int, default=0, help="draws tasks and examples")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    options = {name: getattr(given, name) for name in ("seed", "steps", "shots", "half")}
    rows: dict[str, list[dict[str, float]]] = {}
    seeds: dict[str, list[int]] = {}
    for run in given.runs:
        learner = rlmaml.load(run)
        config = learner.config
        with closed(build_experiment(config, tasks=1)) as experiment:
            family = experiment.tasks_source
            known, new = (
                predicted(learner, family, split, **options) for split in ("validation", "test")
            )
        rows.setdefault(config.algorithm, []).append(calibration(known, new))
        seeds.setdefault(config.algorithm, []).append(config.seed)
        print(run, {name: round(value, 3) for name, value in rows[config.algorithm][-1].items()})
    result: dict[str, Any] = {"tasks": TASKS, "queries": QUERIES, "claimed": CLAIMED}
    result |= options | {"algorithms": {}}
    for algorithm, runs in rows.items():
        table = {name: [row[name] for row in runs] for name in runs[0]}
        result["algorithms"][algorithm] = {"seeds": seeds[algorithm]} | table
        if len(runs) > 1:  # one says nothing of others
            values = np.array(list(table.values())).T
            means = zip(table, *statistics.over_runs(values, values), strict=True)
            cells = (f"{name} {mean:.3f} ± {half:.3f}" for name, mean, half in means)
            print(f"{algorithm}: {', '.join(cells)}")
    if given.out:
        write_json(given.out, result | {"versions": versions(), "command": command()})


if __name__ == "__main__":
    main()
