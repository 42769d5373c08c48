"""Learning curves: of one run, and of several ways to train.

With an empty title, a plot has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from runners import formatting
from runners.plotting import AFTER, BEFORE, Target, blank, save

Metrics = Sequence[Mapping[str, float]]
"""The lines of a run's metrics.jsonl, as far as they are numbers."""


def learning_curve(
    metrics: Metrics,
    path: Target,
    title: str,
    runs: Sequence[Metrics] = (),
    levels: Sequence[tuple[str, float, str]] = (),
) -> None:
    """Plot the metric before and after adaptation against environment steps or meta-iterations.

    Args:
        metrics: lines of one run, or means over several.
        runs: the single runs, as thin lines.
        levels: horizontal lines: what each is, where, its color.
    """
    figure, axes = blank()
    metric = next(name for name in formatting.METRICS if f"{name}/pre" in metrics[0])
    x, x_label = [line["iteration"] + 1 for line in metrics], "meta-iterations"
    if metric == "return":
        x, x_label = [line["env_steps"] / 1e6 for line in metrics], "environment steps (millions)"
    for name, label, color in (
        (f"{metric}/pre", "before adaptation", BEFORE),
        (f"{metric}/post", "after adaptation", AFTER),
    ):
        y = np.array([line[name] for line in metrics], float)
        window = max(1, len(y) // 50) if metric != "return" else 1
        if window > 1:  # single meta-batches of examples scatter widely
            axes.plot(x, y, color=color, alpha=0.15, linewidth=0.8)
            padded = np.pad(y, (window - 1, 0), mode="edge")
            y = np.convolve(padded, np.ones(window) / window, "valid")
            label += f" (mean of {window} lines)"
        for run in runs:
            thin = [line[name] for line in run[: len(x)]]
            axes.plot(x, np.array(thin, float), color=color, linewidth=0.6, alpha=0.5)
        axes.plot(x, y, label=label, color=color)
    for label, level, color in levels:
        axes.axhline(level, color=color, linestyle=":", linewidth=1.2, label=label)
    validated = [line for line in metrics if f"validation/{metric}/post" in line]
    if validated:
        axes.plot(
            [x[metrics.index(line)] for line in validated],
            [line[f"validation/{metric}/post"] for line in validated],
            "o--",
            markersize=3,
            color="0.3",
            label="after adaptation, validation tasks",
        )
    axes.set(xlabel=x_label, ylabel=formatting.METRICS[metric], title=title)
    axes.legend(frameon=False)
    save(figure, path)


def compared_curves(
    runs: Mapping[str, Sequence[Metrics]], path: Target, title: str, window: int = 5
) -> None:
    """Plot the return after adaptation in training, of several ways to train.

    A line is the mean over seeds, a band their range.

    Args:
        runs: the metrics of every seed's run, by what they are runs of; of equal length.
        window: iterations to take a running mean of.
    """
    figure, axes = blank()
    kernel = np.ones(window) / window
    for (name, seeds), style in zip(runs.items(), cycle(("-", "--", "-.", ":")), strict=False):
        y = np.array([[line["return/post"] for line in run] for run in seeds])
        y = np.array([np.convolve(row, kernel, "valid") for row in y])
        x = window + np.arange(y.shape[1])
        (line,) = axes.plot(x, y.mean(0), style, label=name)
        axes.fill_between(x, y.min(0), y.max(0), color=line.get_color(), alpha=0.12, linewidth=0)
    label = f"return after adaptation (mean of {window} iterations)"
    axes.set(xlabel="meta-iterations", ylabel=label, title=title)
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)
