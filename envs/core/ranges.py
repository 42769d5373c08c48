"""Numbers drawn uniformly from ranges that may differ between training and test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arguments import Range, check_range
from .tasks import Split, check_split


class Ranges:
    """A range to train and validate on, and one to test on.

    Args:
        name: what error messages call the first; the second is test_NAME.
        train: one interval or several.
        test: the same; None is `train`.

    Attributes:
        low: least number of both.
        high: greatest number of both.
        middle: of the first interval to train on.

    Raises:
        ValueError: no ranges.
    """

    def __init__(self, name: str, train: Range, test: Range | None = None) -> None:
        self._intervals = {
            "train": check_range(name, train),
            "test": check_range(f"test_{name}", train if test is None else test),
        }
        everything = np.concatenate(list(self._intervals.values()))
        self.low, self.high = float(everything.min()), float(everything.max())
        # Not of the whole range: a hole is no place for a default.
        self.middle = float(self._intervals["train"][0].mean())

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """All intervals, (low, high) each, those to train on first."""
        return [(low, high) for rows in self._intervals.values() for low, high in rows.tolist()]

    def sample(
        self, n: int, rng: np.random.Generator, split: Split, *, balanced: bool
    ) -> NDArray[np.float64]:
        """Draw `n` numbers, `[n]`.

        Args:
            n: how many.
            rng: what they are drawn from.
            split: "test" draws from the range to test on, the others from that to train on.
            balanced: draw one of n from each n-th part of the range, in random order.

        Raises:
            ValueError: an unknown `split`.
        """
        intervals = self._intervals["test" if check_split(split) == "test" else "train"]
        starts, widths = intervals[:, 0], np.diff(intervals).ravel()
        # One uniform number on the intervals laid end to end.
        ends = np.cumsum(widths)
        drawn = rng.uniform(0.0, ends[-1], size=n)
        if balanced:
            drawn = rng.permutation((np.arange(n) * ends[-1] + drawn) / n)
        which = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
        return starts[which] + drawn - (ends - widths)[which]
