"""The tables of a report: scores after each inner step, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runners import formatting
from runners.evaluation import statistics
from runners.formatting import number


@dataclass(frozen=True)
class Cell:
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Row:
    label: str
    cells: list[Cell]


@dataclass(frozen=True)
class Body:
    """Rows that belong together, under a heading."""

    heading: str
    note: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    columns: list[str]
    bodies: list[Body] = field(default_factory=list)


def comparison_table(comparison: dict[str, Any], decimals: int) -> Table:
    """Methods by steps: mean, interquartile mean, gap to the oracle closed, single runs."""
    table = Table(_columns(comparison["steps"]))
    width = len(comparison["steps"])
    for name, method in comparison["methods"].items():
        several = len(method["runs"]) > 1
        rows = [_interval_row("mean", method["mean"], method["mean_ci95"], decimals)]
        if several:
            ends = method["mean_ci95_whole_runs"]
            rows.append(_interval_row("mean, runs drawn whole", method["mean"], ends, decimals))
        rows.append(
            _interval_row("interquartile mean", method["iqm"], method["iqm_ci95"], decimals)
        )
        if method["gap_closed"] is not None:
            rows.append(_gap_row(method))
        if several:
            rows += [
                Row(f"seed {seed}", [Cell(number(value, decimals)) for value in means])
                for seed, means in zip(method["seeds"], method["run_means"], strict=True)
            ]
        for row in rows:  # an oracle does not adapt
            row.cells.extend(Cell("–") for _ in range(width - len(row.cells)))
        table.bodies.append(Body(name, _training(name, method, comparison), rows))
    return table


def evaluation_table(result: dict[str, Any], name: str, decimals: int) -> Table:
    """One run by steps: mean and interquartile mean over tasks."""
    scores = np.array([[task[result["metric"]] for task in result["per_task"]]], float)
    scores = statistics.finite(scores)
    iqm = statistics.interquartile_mean(scores)
    low, high = statistics.bootstrap(statistics.interquartile_mean, scores)
    mean = Row(
        "mean",
        [
            Cell(number(value, decimals), f"± {number(half, decimals)}" * bool(np.isfinite(half)))
            for value, half in zip(result["mean"], result["ci95"], strict=True)
        ],
    )
    iqms = _interval_row(
        "interquartile mean", iqm.tolist(), [low.tolist(), high.tolist()], decimals
    )
    what = "environment steps" if result["episodes"] else "labeled examples"
    note = f"{formatting.amount(result['train_env_steps'])} {what} of training"
    return Table(_columns(result["steps"]), [Body(name, note, [mean, iqms])])


def kinds_table(result: dict[str, Any], decimals: int) -> Table | None:
    """Means by kind of task, where there are kinds, and of what else is measured; else None."""
    bodies = []
    metric = formatting.NOUNS[result["metric"]]
    others = {
        name: row["mean"]
        for name, row in result["others"].items()
        if name != "diverged" or np.any(row["mean"])
    }
    for name, group in result["groups"].items():
        rows = [Row(metric, [Cell(number(value, decimals)) for value in group["mean"]])]
        rows += [_plain_row(other, group[other]) for other in others if other in group]
        bodies.append(Body(formatting.kind(name), f"{group['tasks']:.0f} tasks", rows))
    if others and not bodies:
        rows = [_plain_row(name, means) for name, means in others.items()]
        bodies.append(Body("all tasks", "", rows))
    return Table(_columns(result["steps"]), bodies) if bodies else None


def _plain_row(name: str, values: list[float]) -> Row:
    return Row(f"mean {name.replace('_', ' ')}", [Cell(number(value, 2)) for value in values])


def _columns(steps: list[int]) -> list[str]:
    return [str(k) for k in steps]


def _interval_row(label: str, values: list[float], ends: list[list[float]], decimals: int) -> Row:
    return Row(
        label,
        [
            Cell(
                number(value, decimals),
                f"[{number(low, decimals)}, {number(high, decimals)}]"
                if np.isfinite(value)
                else "",
            )
            for value, low, high in zip(values, *ends, strict=True)
        ],
    )


def _gap_row(method: dict[str, Any]) -> Row:
    cells = [_share(value) for value in method["gap_closed"]]
    ends = method.get("gap_closed_ci95")
    if ends is None:
        return Row("gap to oracle closed", [Cell(cell) for cell in cells])
    between = [f"[{_share(low)}, {_share(high)}]" for low, high in zip(*ends, strict=True)]
    return Row("gap to oracle closed", list(map(Cell, cells, between)))


def _share(value: float) -> str:
    return f"{value:.0%}".replace("-", "−") if np.isfinite(value) else "–"


def _training(name: str, method: dict[str, Any], comparison: dict[str, Any]) -> str:
    cost = float(np.mean(method["train_env_steps"]))
    what = "environment steps" if comparison["episodes"] else "labeled examples"
    seeds = method["seeds"]
    each = " each" * (len(seeds) > 1)
    said = f"{formatting.amount(cost)} {what} of training{each}" if cost else "not trained"
    if each:
        said += f"; seeds {formatting.listed(seeds)}"
    return f"{formatting.BASELINES[name]}; {said}" if name in formatting.BASELINES else said
