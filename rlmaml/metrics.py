"""Metrics that a run reports of a batch: how well its tasks go after 0..K inner steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlmaml import processes
from rlmaml.losses import Loss
from rlmaml.objective import along_iterates
from rlmaml.returns import episode_mean
from rlmaml.types import Episodes, Examples, InnerLoop, Meta, MetaBatch

Scores = dict[str, NDArray[np.floating]]
"""Scores by name, each [N, K+1]; the first is the one that runs are compared by."""


class Metric(Protocol):
    """Measures how well a batch's tasks go."""

    name: str
    """The score that runs are compared by."""
    higher_is_better: bool
    note: str
    """A note to the reader on how the score was come by; may be empty."""

    def scores(self, meta: Meta, batch: MetaBatch) -> Scores:
        """Scores of every task after 0 .. K inner steps.

        Args:
            meta: the meta-parameters that the batch was collected with.
            batch: leaves [N, ...].
        """
        ...

    def steps(self, batch: MetaBatch) -> int:
        """Environment steps that all processes' batches cost; an example is a step."""
        ...

    def line(self, meta: Meta, batch: MetaBatch) -> dict[str, float]:
        """Means over the tasks of all processes for one line of metrics.jsonl.

        `NAME/pre` is the score of φ_0 = θ, `NAME/post` that of φ_K, in between `NAME/step_k`, and
        `helped` the share of tasks whose score φ_K betters.
        """
        ...


class Returns:
    """Episodes: the undiscounted return of those sampled with φ_k."""

    name, higher_is_better, note = "return", True, ""

    def scores(self, meta: Meta, batch: MetaBatch) -> Scores:
        sets = _sets(batch)
        diagnostics = {
            name: _stack(_mean_per_task(data, name) for data in sets)
            for name in sets[0].diagnostics
        }
        return {"return": _returns(sets), **diagnostics}

    def steps(self, batch: MetaBatch) -> int:
        everything = [*_sets(batch), *batch.hessian]
        counts = (data.mask.sum() + data.diagnostics["diverged"].sum() for data in everything)
        return int(processes.total(float(sum(counts))))

    def line(self, meta: Meta, batch: MetaBatch) -> dict[str, float]:
        sets = _sets(batch)
        returns = processes.all_rows(_returns(sets))
        return {
            **_before_and_after({"return": returns}),
            **_helped(returns),
            "length/pre": _length(sets[0]),
            "length/post": _length(sets[-1]),
            "diverged": processes.total(
                sum(data.diagnostics["diverged"].sum().item() for data in (*sets, *batch.hessian))
            ),
        }


class Predictions:
    """Examples: losses of φ_k on the query set, which no inner step learns from.

    Args:
        inner: adapts.
        losses: by name; the first is the metric.
        chunk_size: tasks per stacked computation.
        fresh_support: whether inner steps have examples of their own, or share a set.
        note: see `Metric`.
    """

    def __init__(
        self,
        inner: InnerLoop,
        losses: dict[str, Loss],
        *,
        chunk_size: int | None = None,
        fresh_support: bool = False,
        note: str = "",
    ) -> None:
        self.inner, self.losses, self.chunk_size = inner, losses, chunk_size
        self.fresh_support, self.note = fresh_support, note
        self.name = next(iter(losses))
        self.higher_is_better = self.name == "accuracy"

    def scores(self, meta: Meta, batch: MetaBatch) -> Scores:
        losses = along_iterates(self.inner, meta, batch, self.losses, self.chunk_size)
        return {name: value.cpu().numpy() for name, value in losses.items()}

    def steps(self, batch: MetaBatch) -> int:
        support = batch.support if self.fresh_support else batch.support[:1]
        sets: list[Examples] = [*support, *batch.hessian[:1], batch.query]
        own = sum(data.targets.shape[0] * data.targets.shape[1] for data in sets)
        return int(processes.total(own))

    def line(self, meta: Meta, batch: MetaBatch) -> dict[str, float]:
        scores = {name: processes.all_rows(own) for name, own in self.scores(meta, batch).items()}
        own = scores[self.name] if self.higher_is_better else -scores[self.name]
        return {**_before_and_after(scores), **_helped(own)}


def _before_and_after(scores: Scores) -> dict[str, float]:
    line = {}
    for name, values in scores.items():
        means = values.mean(0).tolist()
        line |= {f"{name}/pre": means[0], f"{name}/post": means[-1]}
        line |= {f"{name}/step_{k}": mean for k, mean in enumerate(means[1:-1], 1)}
    return line


def _helped(scores: NDArray[np.floating]) -> dict[str, float]:
    """Share of tasks that are better after adaptation, of scores [N, K+1]; none if K is 0.

    A task that is as it was counts half.
    """
    if scores.shape[1] == 1:
        return {}
    return {"helped": float(np.sign(scores[:, -1] - scores[:, 0]).mean() / 2 + 0.5)}


def _sets(batch: MetaBatch) -> list[Episodes]:
    return [*batch.support, batch.query]


def _returns(sets: list[Episodes]) -> NDArray[np.floating]:
    """Mean undiscounted return of each task's episodes, [N, K+1].

    One that diverged in its first step has none, like padding.
    """
    return _stack(episode_mean(data.rewards.sum(-1), data.mask) for data in sets)


def _length(data: Episodes) -> float:
    """Mean length of episodes, over tasks."""
    return processes.mean(episode_mean(data.mask.sum(-1), data.mask)).item()


def _stack(values: Iterable[Tensor]) -> NDArray[np.floating]:
    """K+1 tensors [N] as one array [N, K+1]."""
    return np.stack([value.cpu().numpy() for value in values], 1)


def _mean_per_task(data: Episodes, name: str) -> Tensor:
    """The mean of a diagnostic over valid steps [N]; of divergences, the count."""
    if name == "diverged":
        return data.diagnostics[name].sum((1, 2))
    total = (data.diagnostics[name] * data.mask).sum((1, 2))
    return total / data.mask.sum((1, 2)).clamp(min=1)
