"""Totals that a run counts up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from rlmaml.values import check_values

MOST_REASONS = 8
"""Reasons that are counted apart; an outer step of one's own may word each anew."""


@dataclass(frozen=True)
class Totals:
    """Cost of a run so far, its best checkpoint and its refused outer steps.

    Its checkpoints keep them.
    """

    limits: ClassVar[dict[str, float]] = {"best_score": math.inf}

    env_steps: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    best_iteration: int = 0
    best_by: str = ""
    """The way in which the best score was come by."""
    refused: int = 0
    """Outer steps that were refused."""
    refused_in_a_row: int = 0
    """How many of them were the latest."""
    refusals: dict[str, int] = field(default_factory=dict)
    """How many were refused for each reason."""

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Totals:
        """Read what `dataclasses.asdict` made; fields of other versions are left out.

        Raises:
            ConfigError: values of other types.
        """
        names = {each.name for each in fields(cls)}
        read = cls(**{name: value for name, value in stored.items() if name in names})
        check_values(read, "totals.")
        return read

    def after(self, env_steps: int, seconds: float) -> Totals:
        """The totals after one more iteration, which brought the run's time to `seconds`."""
        return replace(self, env_steps=self.env_steps + env_steps, seconds=seconds)

    def judged(self, reason: str | None) -> Totals:
        """The totals after one more outer step, refused for a reason, or accepted (None)."""
        if reason is None:
            return replace(self, refused_in_a_row=0)
        if reason not in self.refusals and len(self.refusals) >= MOST_REASONS:
            reason = "other reasons"
        return replace(
            self,
            refused=self.refused + 1,
            refused_in_a_row=self.refused_in_a_row + 1,
            refusals={**self.refusals, reason: self.refusals.get(reason, 0) + 1},
        )

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
