"""Outer steps that were refused: why, and what to look at."""

from __future__ import annotations

import torch

from rlmaml import tree
from rlmaml.types import Episodes, Meta, MetaBatch, Metrics
from runners.training.totals import Totals

ZERO, NOT_FINITE, NO_STEP = "gradient zero", "gradient not finite", "no acceptable step"
UNCHANGED = "parameters unchanged"

ADVICE = {
    ZERO: "Look at the rewards: one that no episode reaches, or that all have alike, teaches "
    "nothing. Make it denser, make episodes longer (--horizon), or explore more "
    "(--policy.init-log-std).",
    NOT_FINITE: "Look at the inner steps and the losses: lower --inner.step-size, and see to it "
    "that rewards and observations are neither huge nor not finite.",
    NO_STEP: "Look at the outer step: raise --trust-region.backtracks, change "
    "--trust-region.max-kl, or take more --tasks and --episodes, if the gradient is noise.",
    "curvature not positive": "Look at the outer step: raise --trust-region.damping.",
    UNCHANGED: "Look at the outer step: its updates leave the parameters as they are.",
}
"""What to look at, by the reason of a refusal."""


def refusal(before: Meta, after: Meta, metrics: Metrics) -> str | None:
    """Why an outer step taught nothing; None of one that was accepted.

    An outer step of one's own may say nothing of it. Then the parameters do.

    Args:
        before: the meta-parameters that collected.
        after: those that the step led to.
        metrics: of the step.
    """
    outcome = metrics.get("outcome", "accepted")
    if outcome != "accepted":
        return str(outcome)
    norm = metrics.get("gradient_norm")
    if isinstance(norm, int | float) and norm == 0:
        return ZERO
    if norm is not None or "outcome" in metrics:
        return None
    same = all(map(torch.equal, tree.leaves(before), tree.leaves(after)))
    return UNCHANGED if same else None


def first_refusal(number: int, reason: str, batch: MetaBatch) -> str:
    """A line on the first outer step that was refused.

    Args:
        number: of the outer step, from 1.
        reason: of the refusal.
        batch: what the step was to learn from.
    """
    return f"Outer step {number} was refused: {reason}{_circumstances(batch)}. Training goes on."


def _circumstances(batch: MetaBatch) -> str:
    """The rewards and advantages that it came with, where it learned from those."""
    query = batch.query
    if not isinstance(query, Episodes):
        return ""
    valid = query.mask > 0
    if not valid.any():
        return " (no valid time step)"
    rewards = query.rewards[valid]
    low, high = rewards.min().item(), rewards.max().item()
    largest = query.advantages.abs().max().item()
    return f" (rewards from {low:.3g} to {high:.3g}, advantages up to {largest:.3g})"


def summary(totals: Totals, steps: int) -> str:
    """How many outer steps were refused and why; empty if none was."""
    if not totals.refused:
        return ""
    ordered = sorted(totals.refusals.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{reason} ({count})" for reason, count in ordered)
    return f"{totals.refused} of {steps} outer steps were refused: {reasons}."


def advice(totals: Totals) -> str:
    """What to look at, by the reasons of a run's refusals, the most frequent first."""
    ordered = sorted(totals.refusals, key=lambda reason: -totals.refusals[reason])
    known = [ADVICE[reason] for reason in ordered if reason in ADVICE]
    return " ".join(known[:2]) or "Look at the outer step's settings."
