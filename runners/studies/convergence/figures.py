"""Pictures of the studies."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from runners.evaluation.plots import AFTER, BEFORE, METHODS, blank, save


def bias(result: dict[str, Any], path: Path) -> None:
    """Bias of the estimator against D_in, of every w, beside both bounds."""
    figure, axes = blank()
    rows = result["rows"]
    sizes = [row["inner"] for row in rows]
    for k, each in enumerate(zip(*(row["biases"] for row in rows), strict=True)):
        label = "at 25 points" if k == 0 else None
        axes.plot(sizes, each, color=AFTER, linewidth=0.7, alpha=0.6, label=label)
    for name, label, style in (
        ("first_order_bound", "(1 + αL) αL σ̃/√D, of (7)", ":"),
        ("second_order_bound", "(1 + αL) ½ρα²σ̃²/D", "--"),
    ):
        axes.plot(sizes, [row[name] for row in rows], style, color=BEFORE, label=label)
    _logarithmic(axes, "samples of the inner step, D", "‖E g - ∇F‖")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    save(figure, path)


def iterations(results: list[dict[str, Any]], path: Path) -> None:
    """T(ε), the bound (14), and the slope that was to be expected."""
    figure, axes = blank()
    for result, color in zip(results, (AFTER, BEFORE), strict=False):
        eps, counts = (np.array(result[name]) for name in ("precisions", "iterations"))
        label = f"p = {result['power']:g}: slope -{result['exponent']:.3f}"
        axes.plot(eps, counts, "o-", color=color, markersize=3, label=label)
        expected = counts[-1] * (eps / eps[-1]) ** -result["expected"]
        axes.plot(
            eps, expected, ":", color=color, label=f"-(p+2)/(p+1) = -{result['expected']:.3f}"
        )
        axes.plot(eps, result["bound"], "--", color=color, label="bound (14), slope -2")
    _logarithmic(axes, "ε", "iterations until ‖∇F‖ ≤ ε")
    save(figure, path)


def stalls(results: list[dict[str, Any]], path: Path) -> None:
    """‖∇F‖ along the way, on the two cosines."""
    figure, axes = blank()
    shown = [result for result in results if result["problem"] == "Cosines"]
    for k, (result, color) in enumerate(zip(shown, cycle(METHODS), strict=False)):
        style = "-" if k < len(METHODS) else "--"
        axes.plot(result["norms"], style, color=color, label=result["method"])
    axes.set_yscale("log")
    axes.set(xlabel="outer steps, all data", ylabel="‖∇F‖", ylim=(1e-17, None))
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def practice(result: dict[str, Any], path: Path) -> None:
    """Held-out error after adaptation along training."""
    figure, axes = blank()
    for (name, curve), color in zip(result["curves"].items(), cycle(METHODS), strict=False):
        axes.plot(curve["iterations"], curve["loss"], color=color, label=name)
    axes.set(xlabel="meta-iterations", ylabel="mean squared error after one step", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def _logarithmic(axes: Any, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False, fontsize="small")
