"""Tables of a report that are of one evaluation."""

from __future__ import annotations

import numpy as np

from runners import formatting
from runners.evaluation import statistics, tables
from runners.evaluation.results import Evaluation
from runners.evaluation.tables import Body, Table


def evaluation_table(result: Evaluation, name: str, decimals: int) -> Table:
    """Mean and interquartile mean over tasks, by steps.

    Args:
        result: of one run.
        name: what the run is called.
        decimals: of the scores.
    """
    scores = statistics.finite(result.scores[result.metric][None])
    iqm = statistics.interquartile_mean(scores)
    rows = [
        tables.spread_row("mean", result.mean, result.ci95, decimals),
        tables.plain_row("interquartile mean", iqm, decimals),
    ]
    note = f"{formatting.amount(result.train_env_steps)} {result.data} of training"
    return Table([str(k) for k in result.steps], [Body(name, note, rows)])


def kinds_table(result: Evaluation, decimals: int) -> Table | None:
    """Means by kind of task, where there are kinds, and of what else is measured; else None."""
    noun = formatting.NOUNS[result.metric]
    others = {
        name: summary.mean
        for name, summary in result.others.items()
        if name != "diverged" or np.any(summary.mean)
    }
    bodies = []
    for name, group in result.groups.items():
        rows = [tables.plain_row(noun, group.mean, decimals)]
        rows += [
            tables.plain_row(_label(other), group.others[other], 2)
            for other in others
            if other in group.others
        ]
        bodies.append(Body(formatting.kind(name), f"{group.tasks} tasks", rows))
    if others and not bodies:
        rows = [tables.plain_row(_label(name), means, 2) for name, means in others.items()]
        bodies.append(Body("all tasks", "", rows))
    return Table([str(k) for k in result.steps], bodies) if bodies else None


def _label(name: str) -> str:
    return f"mean {name.replace('_', ' ')}"
