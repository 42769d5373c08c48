"""Benefit of the estimators of the meta-gradient: return after adaptation, and noise.

    python -m benchmarks.meta_gradients train PRESET [--seeds 0 1 2] [--only NAME ...]
    python -m benchmarks.meta_gradients noise PRESET [--batches 8]

`train` meta-trains the preset with each of the combinations of inner surrogate and outer objective
below, all with the same number of episodes and the same random draws (two copies of each task mean
half the tasks), and evaluates them on the same held-out tasks. E-MAML goes without normalized outer
advantages, ProMP with Adam in place of the trust region. Interrupted, it goes on where it was.

`noise` draws independent meta-batches at the same parameters, the initial ones and those that the
first run of `train` ended with, and prints for each combination the mean cosine of two of its
meta-gradients, and that of its mean meta-gradient with log-likelihood's.

Both write JSON into --out, runs/meta-gradients/PRESET; `train` also a plot of the learning curves.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from rlmaml import checkpoint
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import TrainConfig
from rlmaml.objective import meta_gradient
from rlmaml.types import Meta
from runners.environments import build_experiment
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.io import versions, write_json
from runners.presets import PRESETS
from runners.run_dir import RunDir
from runners.training import plots
from runners.training.train import meta_batch, resume, train

REFERENCE = "log-likelihood, adapted"


def _inner(config: TrainConfig, **changed: Any) -> TrainConfig:
    inner: InnerConfig = replace(config.inner, **changed)
    return replace(config, inner=inner)


def _no_baseline(config: TrainConfig) -> TrainConfig:
    # Normalization, which the step size needs, still subtracts the mean.
    advantages: AdvantageConfig = replace(config.inner_advantages, baseline="none", gae_lambda=1.0)
    return replace(_inner(config, surrogate="dice"), inner_advantages=advantages)


def _e_maml(config: TrainConfig, copies: int) -> TrainConfig:
    config = config.with_algorithm("e-maml")
    return config.changed({"algorithm_settings.task_copies": copies})


def _promp(config: TrainConfig) -> TrainConfig:
    return _inner(config, surrogate="lvc").with_algorithm("promp")


def _first_order(config: TrainConfig) -> TrainConfig:
    return _inner(config, surrogate="log-likelihood").with_algorithm("fo-maml")


COMBINATIONS = {
    REFERENCE: lambda config: _inner(config, surrogate="log-likelihood"),
    "first-order": _first_order,
    "lvc, adapted": lambda config: _inner(config, surrogate="lvc"),
    "dice, adapted": lambda config: _inner(config, surrogate="dice"),
    "dice without fitted baseline, adapted": _no_baseline,
    "log-likelihood, e-maml": lambda config: _e_maml(config, 1),
    "log-likelihood, e-maml, two copies": lambda config: _e_maml(config, 2),
    "lvc, promp": _promp,
}


def run_training(
    base: TrainConfig, out: Path, names: list[str], seeds: list[int], tasks: int
) -> dict[str, Any]:
    """Train and evaluate whatever is not yet there; the results of all that is."""
    rows: dict[str, Any] = {}
    for seed, name in itertools.product(seeds, names):
        config = replace(COMBINATIONS[name](base), seed=seed)
        folder = RunDir(_place(out, name, seed))
        if not folder.path.exists():
            train(config, folder.path)
        elif _iterations(folder) < config.iterations:
            resume(folder, config)
        result = evaluate_run(folder, EvalConfig(tasks=tasks, steps=3))
        metrics = folder.read_metrics()
        rows.setdefault(name, {})[str(seed)] = {
            "return": result.mean.tolist(),
            "ci95": result.ci95.tolist(),
            "training, last ten": float(np.mean([m["return/post"] for m in metrics[-10:]])),
            "env_steps": metrics[-1]["env_steps"],
            "minutes": metrics[-1]["seconds"] / 60,
            "not accepted": sum(m["outcome"] != "accepted" for m in metrics),
        }
        print(name, seed, " ".join(f"{mean:.4g}" for mean in result.mean), flush=True)
    return rows


def _iterations(folder: RunDir) -> int:
    metrics = folder.read_metrics()
    return metrics[-1]["iteration"] + 1 if metrics else 0


def _place(out: Path, name: str, seed: int) -> Path:
    return out / name.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"


def gradients(config: TrainConfig, meta: Meta | None, batches: int) -> np.ndarray:
    """Independent meta-gradients [batches, P] at `meta`, or at the initial parameters."""
    experiment = build_experiment(config)
    algorithm = experiment.algorithm
    meta = {"params": experiment.params} if meta is None else meta
    gradients = []
    for i in tqdm(range(batches)):
        batch = meta_batch(experiment, config, meta, i)
        # ProMP's first epoch: ratios of 1 and a KL of 0 leave the plain gradient.
        objective = algorithm.objective(algorithm.initial_state(meta))
        gradients.append(meta_gradient(objective, meta, algorithm.prepare(batch))[1])
    experiment.close()
    return torch.stack(gradients).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def run_noise(
    base: TrainConfig, names: list[str], where: dict[str, Meta | None], batches: int
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for point, meta in where.items():
        reference = None
        for name in names:
            rows_of = gradients(COMBINATIONS[name](base), meta, batches)
            mean = rows_of.mean(0)
            reference = mean if reference is None else reference
            pairs = [cosine(a, b) for a, b in itertools.combinations(rows_of, 2)]
            rows.setdefault(point, {})[name] = {
                "cosine of two": float(np.mean(pairs)),
                "cosine of means with the first": cosine(mean, reference),
                "norm": float(np.linalg.norm(rows_of, axis=1).mean()),
            }
            print(point, name, rows[point][name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "noise"])
    parser.add_argument("preset", choices=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="half the preset's if not given")
    parser.add_argument("--tasks", type=int, default=100, help="held-out tasks")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=list(COMBINATIONS), help="all if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = options.out or Path("runs/meta-gradients") / options.preset
    base = PRESETS[options.preset][1]
    base = replace(base, iterations=options.iterations or base.iterations // 2)
    names = options.only or list(COMBINATIONS)
    if options.what == "train":
        result: dict[str, Any] = {
            "runs": run_training(base, out, names, options.seeds, options.tasks),
            "iterations": base.iterations,
            "held-out tasks": options.tasks,
        }
        title = f"{options.preset}: mean and range of {len(options.seeds)} seeds"
        runs = {
            name: [RunDir(_place(out, name, seed)).read_metrics() for seed in options.seeds]
            for name in names
        }
        plots.compared_curves(runs, out / "curves.png", title)
    else:
        where: dict[str, Meta | None] = {"initial parameters": None}
        trained = _place(out, REFERENCE, 0) / "checkpoints"
        if checkpoint.available(trained):
            where["after training"] = checkpoint.load(checkpoint.latest(trained)).meta
        result = {"noise": run_noise(base, names, where, options.batches)}
        result["batches"] = options.batches
    result |= {"preset": options.preset, "versions": versions()}
    write_json(out / f"{options.what}.json", result)
    print(f"Written: {out / options.what}.json")


if __name__ == "__main__":
    main()
