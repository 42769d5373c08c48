"""Pictures of a run: its learning curve, its adaptation curve, its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

BEFORE, AFTER = "#b0602c", "#1f6f8b"  # tell apart in grey and by the colour-blind


def learning_curve(metrics: list[dict[str, Any]], path: Path, title: str) -> None:
    """Return before and after adaptation against env steps, during meta-training."""
    figure, axes = _figure()
    x = [line["env_steps"] / 1e6 for line in metrics]
    for name, label, colour in (
        ("return/pre", "before adaptation", BEFORE),
        ("return/post", "after adaptation", AFTER),
    ):
        axes.plot(x, [line[name] for line in metrics], label=label, color=colour)
    axes.set(xlabel="environment steps (millions)", ylabel="return per episode", title=title)
    axes.legend(frameon=False)
    _save(figure, path)


def adaptation_curve(result: dict[str, Any], path: Path, title: str) -> None:
    """Return after 0..K inner steps on held-out tasks, with a 95 % interval."""
    figure, axes = _figure()
    x, mean, half = (np.asarray(result[name]) for name in ("steps", "mean", "ci95"))
    axes.fill_between(x, mean - half, mean + half, color=AFTER, alpha=0.2, linewidth=0)
    axes.plot(x, mean, "o-", color=AFTER, label="all tasks")
    styles = ("--", ":", "-.")
    for (name, group), style in zip(result["groups"].items(), styles, strict=False):
        axes.plot(x, group["mean"], style, color="0.4", label=f"task {name}")
    axes.set(
        xlabel="inner gradient steps",
        ylabel="return per episode",
        title=f"{title}: {result['tasks']} held-out tasks, mean and 95 % interval",
        xticks=x,
    )
    if result["groups"]:
        axes.legend(frameon=False)
    _save(figure, path)


def per_task(result: dict[str, Any], path: Path, title: str) -> None:
    """Return of every task against its goal, before and after adaptation.

    Tasks of more than one dimension are placed by the goal's distance from the origin.
    """
    figure, axes = _figure()
    goals = np.array([np.atleast_1d(task["task"]) for task in result["per_task"]], float)
    one_dimensional = goals.shape[1] == 1
    x = goals[:, 0] if one_dimensional else np.linalg.norm(goals, axis=1)
    returns = np.array([task["returns"] for task in result["per_task"]])
    shown = dict.fromkeys((0, min(1, returns.shape[1] - 1), returns.shape[1] - 1))
    colours = [BEFORE, AFTER, "#14364a"]
    for i, (k, colour) in enumerate(zip(shown, colours, strict=False)):
        label = "before adaptation" if k == 0 else f"after {k} step{'s' * (k > 1)}"
        aside = 0.06 * (i - 1) if result["groups"] else 0.0  # so that they do not hide each other
        axes.scatter(x + aside, returns[:, k], s=18, color=colour, label=label, alpha=0.8)
    if result["groups"]:
        axes.set_xticks(np.unique(x))
    what = "task" if one_dimensional else "distance of the goal from the origin"
    axes.set(xlabel=what, ylabel="return per episode", title=title)
    axes.legend(frameon=False)
    _save(figure, path)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(6.4, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
