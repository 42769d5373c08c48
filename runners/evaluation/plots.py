"""Plots of evaluations: adaptation curves, comparisons, tasks, and fits of regressions.

With an empty title, a plot has none.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np

from runners import formatting
from runners.evaluation.results import Comparison, Evaluation
from runners.plotting import AFTER, BEFORE, METHODS, Target, blank, save


def adaptation_curve(result: Evaluation, path: Target, title: str) -> None:
    """Plot the metric after 0..K inner steps on held-out tasks, with a 95 % interval."""
    figure, axes = blank()
    x, mean, half = np.asarray(result.steps), result.mean, result.ci95
    tasks = formatting.tasks(len(result.tasks), len(result.groups), result.split)
    axes.fill_between(x, mean - half, mean + half, color=AFTER, alpha=0.2, linewidth=0)
    axes.plot(x, mean, "o-", color=AFTER, label="all tasks")
    styles = ("--", ":", "-.")
    for (name, group), style in zip(result.groups.items(), cycle(styles), strict=False):
        axes.plot(x, group.mean, style, color="0.4", label=formatting.kind(name))
    axes.set(
        xlabel="inner gradient steps",
        ylabel=formatting.METRICS[result.metric],
        title=title and f"{title}: {tasks}, mean and 95 % interval",
        xticks=x,
    )
    if result.groups:
        axes.legend(frameon=False)
    save(figure, path)


def comparison(result: Comparison, path: Target, title: str) -> None:
    """Plot the metric after 0..K inner steps of several methods: means over runs.

    Bands are 95 % intervals over runs, or over the tasks of one, thin lines single runs; an oracle,
    which does not adapt, is a level.
    """
    figure, axes = blank()
    x = np.asarray(result.steps)
    styles = cycle(("-", "--", "-.", ":"))
    for (name, method), color in zip(result.methods.items(), cycle(METHODS), strict=False):
        level = len(method.mean) < len(x)
        rows = (method.mean, *method.mean_ci95, *method.run_means)
        mean, low, high, *runs = (np.broadcast_to(row, len(x)) if level else row for row in rows)
        style = ":" if level else next(styles)
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, mean, style, marker="" if level else "o", color=color, label=name)
        for run in runs if len(runs) > 1 else []:
            axes.plot(x, run, color=color, linewidth=0.6, alpha=0.6)
    count = max(len(method.runs) for method in result.methods.values())
    kinds = max(len(method.groups) for method in result.methods.values())
    held_out = formatting.tasks(len(result.tasks), kinds, result.split) + f", {count} runs" * (
        count > 1
    )
    axes.set(
        xlabel="inner gradient steps",
        ylabel=formatting.METRICS[result.metric],
        title=title and f"{title}: {held_out}",
        xticks=x,
    )
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def per_task(result: Evaluation, path: Target, title: str) -> None:
    """Plot the return of every task against its goal, before and after adaptation.

    Tasks of two numbers stand at the goal's distance from the origin, larger ones and such as are
    no numbers in the order of their returns before adaptation.
    """
    figure, axes = blank()
    goals = np.zeros((len(result.tasks), 0))
    if result.tasks.dtype != object:
        goals = result.tasks.reshape(len(result.tasks), -1).astype(np.float64)
    returns = result.scores["return"]
    if goals.shape[1:] == (1,):
        x, what = goals[:, 0], "task"
    elif goals.shape[1:] == (2,):
        x, what = np.linalg.norm(goals, axis=1), "distance of the goal from the origin"
    else:
        x, what = returns[:, 0].argsort().argsort(), "tasks, by their return before adaptation"
    shown = _shown(returns.shape[1] - 1)
    for i, (k, color, label) in enumerate(shown):
        aside = 0.06 * (i - 1) if result.groups else 0.0  # so that they do not hide each other
        marker = "o^s"[i]
        y = returns[:, k]
        axes.scatter(x + aside, y, s=18, alpha=0.8, color=color, label=label, marker=marker)
    if result.groups and len(np.unique(x)) == len(result.groups):
        axes.set_xticks(np.unique(x), [formatting.kind(name) for name in result.groups])
        what = ""
    axes.set(xlabel=what, ylabel="return per episode", title=title)
    axes.legend(frameon=False)
    save(figure, path)


def fits(result: Evaluation, path: Target, title: str, columns: int = 4) -> None:
    """Plot the curves of a regression before and after adaptation, with the support examples.

    Args:
        result: an evaluation that has fits.
        path: where the plot goes.
        title: of the plot.
        columns: plots beside each other, the most.
    """
    from matplotlib.figure import Figure

    top = 1.2 * max(np.abs(fit.query[1]).max() for fit in result.fits)
    columns = min(columns, len(result.fits))
    rows = -(-len(result.fits) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows), dpi=120, layout="constrained")
    free = figure.subplots(rows, columns, squeeze=False).flat
    for fit, axes in zip(result.fits, free, strict=False):
        axes.plot(*fit.query, "o", color="0.7", markersize=4, label="query examples")
        for k, color, label in _shown(len(fit.curves) - 1):
            style = "--" if k == 0 else "-" if k == 1 else ":"
            axes.plot(fit.grid, fit.curves[k], style, color=color, label=label)
        axes.plot(*fit.support, "^", color="black", markersize=5, label="support examples")
        axes.set(xlabel="x", ylim=(-top, top))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("y")
    labels = figure.axes[0].get_legend_handles_labels()
    wide = len(labels[1]) if columns > 2 else columns
    figure.legend(*labels, loc="outside lower center", ncols=wide, frameon=False, fontsize="small")
    for axes in free:  # of the last row
        axes.set_axis_off()
    if title:
        figure.suptitle(f"{title}: tasks never seen")
    save(figure, path)


def _shown(last: int) -> list[tuple[int, str, str]]:
    """Choose which of the inner steps 0 .. last to draw, each with its color and label."""
    steps = dict.fromkeys((0, min(1, last), last))
    labels = ["before adaptation" if k == 0 else f"after {k} step{'s' * (k > 1)}" for k in steps]
    return list(zip(steps, (BEFORE, AFTER, "#14364a"), labels, strict=False))
