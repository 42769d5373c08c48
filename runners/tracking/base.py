"""The interface of trackers of experiments, which show a run's metrics beside those of others."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from rlmaml.types import Metrics

PROJECT = "rlmaml"
"""Where a tracker keeps runs together, unless the user has set another name."""


class TrackedRun(NamedTuple):
    """A run, as a tracker is told of it."""

    path: Path
    """Its folder, where what stays on this machine is kept."""
    name: str
    config: Mapping[str, Any]
    """Values of settings by option: {"inner.steps": 1}."""
    id: str | None
    """What the tracker calls it, if it knows it already."""
    first: int
    """The first iteration that the tracker has not got."""


class Tracker(abc.ABC):
    """A run's place in a tracker. Every call may fail, or take as long as it likes.

    Making one starts the run there, or goes on with the one of `run.id`.

    Args:
        run: the run.

    Attributes:
        id: what the tracker calls the run, to go on with it later.
        where: where the run can be looked at, in words.
    """

    module: ClassVar[str]
    """What is imported of its package."""

    id: str
    where: str

    @abc.abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @abc.abstractmethod
    def write(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Send the numbers of an iteration, which comes after all that were sent before."""

    @abc.abstractmethod
    def close(self, finished: bool) -> None:
        """Send what is left, and end.

        Args:
            finished: the run has come to its end.
        """


def numbers(line: Metrics) -> dict[str, float]:
    """The numbers of a line of metrics, but for the iteration, which is their step.

    Words and lists are left out, and numbers that are not finite, which are null in metrics.jsonl.
    """
    return {
        name: value
        for name, value in line.items()
        if name != "iteration" and isinstance(value, int | float) and math.isfinite(value)
    }
