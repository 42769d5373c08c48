"""Signs of how adaptation goes in training, and when they turn bad."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from rlmaml import processes
from rlmaml.build import Experiment
from rlmaml.objective import over_tasks
from rlmaml.returns import masked_mean
from rlmaml.types import Episodes, MetaBatch, Metrics, Params

WINDOW = 20
"""Lines of metrics that are judged together: some hundred tasks."""
HARMS, HARDLY_HELPS = 0.4, 0.55
"""Shares of tasks that inner steps help. Those that do nothing at all help half of the tasks."""
UNSOLVED = 0.1
"""The share of its first gradient that an inner problem may keep and count as solved."""


@torch.no_grad()
def adaptation_kl(experiment: Experiment, batch: MetaBatch) -> dict[str, float]:
    """How far inner steps move policies, as metrics; none where nothing adapts to episodes.

    `kl/adaptation` is KL(π_{φ_k} ‖ π_{φ_{k+1}}) on the first episode of each task, a mean over
    tasks and steps.
    """
    if not isinstance(batch.query, Episodes) or len(batch.iterates) < 2:
        return {}
    policy = experiment.algorithm.policy

    def moved(before: Params, after: Params, inputs: Any, mask: torch.Tensor) -> torch.Tensor:
        old: Any = policy(before, inputs)
        return masked_mean(old.kl(policy(after, inputs)), mask)

    pairs = zip(batch.iterates, batch.iterates[1:], batch.support, strict=False)
    steps = [
        over_tasks(moved)(before, after, data.inputs[:, 0], data.mask[:, 0])
        for before, after, data in pairs
    ]
    return {"kl/adaptation": float(processes.mean(torch.stack(steps, 1)).mean())}


class Signs:
    """Watches the share of tasks that inner steps help, and whether an inner problem is solved."""

    def __init__(self) -> None:
        self._shares: deque[float] = deque(maxlen=WINDOW)
        self._residuals: deque[float] = deque(maxlen=WINDOW)
        self._told: set[str] = set()

    def note(self, line: Metrics) -> str | None:
        """Take in a line of metrics; return what is to be said of it, each thing once in a run."""
        found = {"helped": self._shares, "residual": self._residuals}
        for name, values in found.items():
            if isinstance(value := line.get(name), float):
                values.append(value)
        share, residual = map(_mean, found.values())
        if share is not None and share < HARMS and "helped" not in self._told:
            self._told.add("helped")
            return (
                f"Over {WINDOW} iterations, inner steps made {1 - share:.0%} of the tasks no "
                "better or worse. Training goes on; look at --inner.step-size, which may be too "
                "long."
            )
        if residual is not None and residual > UNSOLVED and "residual" not in self._told:
            self._told.add("residual")
            return (
                f"Over {WINDOW} iterations, the inner problem kept {residual:.0%} of the gradient "
                "that it began with, and the implicit gradient is that of a solved one. Training "
                "goes on; look at --inner.steps, --algorithm-settings.solver and a larger "
                "--algorithm-settings.strength."
            )
        return None

    def summary(self) -> str | None:
        """What is to be said at the end of a run, where adaptation has hardly helped."""
        share = _mean(self._shares)
        if share is None or share >= HARDLY_HELPS:
            return None
        return (
            f"In the last {WINDOW} iterations inner steps helped in {share:.0%} of the tasks, "
            "and half is what steps that do nothing come to: one policy may do for all tasks, or "
            "--inner.step-size be too short or too long."
        )


def _mean(values: deque[float]) -> float | None:
    """The mean of a window that is full."""
    return sum(values) / WINDOW if len(values) == WINDOW else None
