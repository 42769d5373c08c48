"""Evaluation: adapt to tasks never seen, and report the return after 0..K inner steps."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml.collect import collect
from rlmaml.random import Phase, generator
from rlmaml.types import Episodes, Meta
from runners.build import build
from runners.errors import UsageError
from runners.restore import matching, read_checkpoint, restore_normaliser
from runners.runfolder import RunFolder, versions, write_json


def evaluate(
    folder: RunFolder,
    *,
    tasks: int = 40,
    steps: int = 3,
    episodes: int = 20,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Evaluate a run's policy on held-out tasks, and write `evaluation.json`.

    The return reported after k steps is that of `episodes` fresh episodes sampled with φ_k by
    the stochastic policy; the same episodes make step k + 1. Adaptation is the training code.

    Args:
        folder: the run.
        tasks: how many tasks, drawn from the family's test split by `seed`.
        steps: K, the most inner steps.
        episodes: B, episodes per task and step.
        checkpoint: which checkpoint; the newest if None.
        device: where adaptation runs (policies then act on the CPU); the run's own if None.

    Returns:
        What `evaluation.json` holds: `steps` [K+1], `mean` and `ci95` [K+1] over tasks,
        `per_task` (task, `returns` [K+1], mean diagnostics [K+1]) and how it was made.
    """
    for name, value, least in (
        ("tasks", tasks, 1),
        ("steps", steps, 0),
        ("episodes", episodes, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}.")
    config = folder.read_config()
    if device is not None:
        config = dataclasses.replace(config, device=device, sampling_device="cpu")
    source = read_checkpoint(checkpoint or folder.path)
    experiment = build(config, tasks=tasks, episodes=episodes)
    meta: Meta = matching(source.meta, {"params": experiment.params}, folder.path)
    restore_normaliser(experiment, source, folder.path)

    began = time.perf_counter()
    chosen = experiment.env.sample_tasks(
        tasks, generator(seed, 0, Phase.EVALUATION_TASKS), split="test"
    )
    batch = collect(
        experiment.sampler,
        experiment.algorithm.inner,
        meta,
        chosen,
        steps=steps,
        key=(seed, 0, Phase.EVALUATION_ROLLOUT),
        chunk_size=config.chunk_size,
    )
    sets: list[Episodes] = [*batch.support, batch.query]
    returns = np.stack(
        [data.rewards.sum(-1).mean(-1).cpu().numpy() for data in sets], 1
    )  # [N, K+1]
    diagnostics = {
        name: np.stack([_mean_per_task(data, name) for data in sets], 1)
        for name in sets[0].diagnostics
    }
    result = {
        "steps": list(range(steps + 1)),
        **summary(returns),
        "groups": {
            str(label): {"tasks": int(rows.sum()), **summary(returns[rows])}
            | {name: values[rows].mean(0).tolist() for name, values in diagnostics.items()}
            for label, rows in _groups(chosen)
        },
        "per_task": [
            {
                "task": np.asarray(task).tolist(),
                "returns": row.tolist(),
                **{name: values[i].tolist() for name, values in diagnostics.items()},
            }
            for i, (task, row) in enumerate(zip(chosen, returns, strict=True))
        ],
        "tasks": tasks,
        "episodes": episodes,
        "seed": seed,
        "iteration": source.iteration,
        "train_env_steps": source.state["totals"]["env_steps"],
        "seconds": time.perf_counter() - began,
        "preset": config.preset,
        "versions": versions(),
    }
    write_json(folder.evaluation, result)
    return result


def summary(returns: np.ndarray) -> dict[str, list[float]]:
    """Mean over tasks and half-width of its 95 % interval (normal approximation), [K+1] each."""
    n = len(returns)
    spread = returns.std(0, ddof=1) if n > 1 else np.zeros(returns.shape[1])
    return {
        "mean": returns.mean(0).tolist(),
        "ci95": (1.96 * spread / np.sqrt(n)).tolist(),
    }


def table(result: dict[str, Any]) -> str:
    """The result as text, a line per group of tasks and one for all."""
    label = f"return on {result['tasks']} held-out tasks"
    lines = [f"{label:<34}" + "".join(f"{f'{k} steps':>16}" for k in result["steps"])]
    rows = [("all tasks", result), *((f"task {g}", r) for g, r in result["groups"].items())]
    for name, row in rows:
        cells = (f"{m:9.1f} ± {c:4.1f}" for m, c in zip(row["mean"], row["ci95"], strict=True))
        lines.append(f"{name:<34}" + "".join(f"{cell:>16}" for cell in cells))
        lines += [
            f"{'  mean ' + diagnostic:<34}" + "".join(f"{v:>16.2f}" for v in row[diagnostic])
            for diagnostic in row
            if row is not result and diagnostic not in ("tasks", "mean", "ci95", "diverged")
        ]
    return "\n".join(lines)


def _mean_per_task(data: Episodes, name: str) -> np.ndarray:
    """The mean of a diagnostic over valid steps [N]; of divergences, the count."""
    if name == "diverged":
        return data.diagnostics[name].sum((1, 2)).cpu().numpy()
    total = (data.diagnostics[name] * data.mask).sum((1, 2))
    return (total / data.mask.sum((1, 2)).clamp(min=1)).cpu().numpy()


def _groups(tasks: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """The kinds of task, where there are few (a Discrete task space); else none."""
    if tasks.ndim > 1:
        return []
    return [(label, tasks == label) for label in np.unique(tasks)]
