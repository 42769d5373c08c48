"""Totals that a run counts up."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Totals:
    """Cost of a run so far, and its best checkpoint; kept in its checkpoints."""

    env_steps: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    best_iteration: int = 0
    best_by: str = ""
    """The way in which the best score was come by."""

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Totals:
        """Read what `dataclasses.asdict` made; fields of other versions are left out."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})

    def after(self, env_steps: int, seconds: float) -> Totals:
        """The totals after one more iteration, which brought the run's time to `seconds`."""
        return replace(self, env_steps=self.env_steps + env_steps, seconds=seconds)

    def noted(self, score: float, iteration: int, *, by: str, higher_is_better: bool) -> Totals:
        """The totals with the score of a checkpoint, if it is the best so far.

        Only scores that were come by in the same way (`by`) are compared.
        """
        if not math.isfinite(score):
            return self
        sign = 1 if higher_is_better else -1
        same = self.best_by == by and self.best_score is not None
        if same and self.best_score is not None and sign * score <= sign * self.best_score:
            return self
        return replace(self, best_score=score, best_iteration=iteration, best_by=by)
