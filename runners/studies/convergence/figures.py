"""Figures of the studies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from runners.plotting import AFTER, BEFORE, METHODS, blank, save
from runners.studies.convergence.estimator import MomentsStudy
from runners.studies.convergence.iterations import IterationCounts
from runners.studies.convergence.practice import Practice
from runners.studies.convergence.stalling import Stall


def bias(study: MomentsStudy, path: Path) -> None:
    """Draw the bias of the estimator against D_in, at every w, beside both bounds."""
    figure, axes = blank()
    sizes = [row.inner for row in study.rows]
    for k, biases in enumerate(zip(*(row.biases for row in study.rows), strict=True)):
        label = "at 25 points" if k == 0 else None
        axes.plot(sizes, biases, color=AFTER, linewidth=0.7, alpha=0.6, label=label)
    first = [row.first_order_bound for row in study.rows]
    second = [row.second_order_bound for row in study.rows]
    axes.plot(sizes, first, ":", color=BEFORE, label="(1 + αL) αL σ̃/√D, of (7)")
    axes.plot(sizes, second, "--", color=BEFORE, label="(1 + αL) ½ρα²σ̃²/D")
    _logarithmic(axes, "samples of the inner step, D", "‖E g - ∇F‖")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    save(figure, path)


def iterations(results: Sequence[IterationCounts], path: Path) -> None:
    """Draw T(ε), the bound (14), and the expected slope."""
    figure, axes = blank()
    for result, color in zip(results, (AFTER, BEFORE), strict=False):
        eps, counts = np.array(result.precisions), np.array(result.iterations)
        label = f"p = {result.power:g}: slope -{result.exponent:.3f}"
        axes.plot(eps, counts, "o-", color=color, markersize=3, label=label)
        expected = counts[-1] * (eps / eps[-1]) ** -result.expected
        label = f"-(p+2)/(p+1) = -{result.expected:.3f}"
        axes.plot(eps, expected, ":", color=color, label=label)
        axes.plot(eps, result.bound, "--", color=color, label="bound (14), slope -2")
    _logarithmic(axes, "ε", "iterations until ‖∇F‖ ≤ ε")
    save(figure, path)


def stalls(results: Sequence[Stall], path: Path) -> None:
    """Draw ‖∇F‖ along the descent on the two cosines."""
    figure, axes = blank()
    cosines = [result for result in results if result.problem == "Cosines"]
    for k, (result, color) in enumerate(zip(cosines, cycle(METHODS), strict=False)):
        style = "-" if k < len(METHODS) else "--"
        axes.plot(result.norms, style, color=color, label=result.algorithm)
    axes.set_yscale("log")
    axes.set(xlabel="outer steps, all data", ylabel="‖∇F‖", ylim=(1e-17, None))
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def practice(study: Practice, path: Path) -> None:
    """Draw the held-out error after adaptation along training."""
    figure, axes = blank()
    for (name, curve), color in zip(study.curves.items(), cycle(METHODS), strict=False):
        axes.plot(curve.iterations, curve.loss, color=color, label=name)
    axes.set(xlabel="meta-iterations", ylabel="mean squared error after one step", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def _logarithmic(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False, fontsize="small")
