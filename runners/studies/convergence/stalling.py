"""Who stalls: where MAML, FO-MAML and HF-MAML come to rest on two tasks, with all data.

Where each rests is known without running it. With v_i = ∇f_i(w - α∇f_i(w)), MAML rests where
E (1 - α ∇²f_i) v_i = ∇F is zero, FO-MAML where E v_i is. HF-MAML, whose two gradients are h from
w on either side, sees on one coordinate cosines' curvature shortened by sin(h)/h, and rests where
E (1 - α sin(h)/h ∇²f_i) v_i is. The outer step is β̃, more than the theorems' shares of it: where
an algorithm rests does not depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from runners.studies.convergence import bounds
from runners.studies.convergence.descent import exactly
from runners.studies.convergence.problems import Cosines, Family, Quadratics

SHIFTS = (0.5, 0.25, 0.125)
"""h of HF-MAML, beside the published 1/6ρα and the package's own."""
START = -0.9
"""On one side of all resting points: from the other, a descent could pass ∇F = 0 on its way."""


def two(family: type[Family]) -> Family:
    """Two tasks, one of three times the curvature: algorithms agree if both have the same."""
    return family(
        torch.tensor([1.0, 1 / 3], dtype=torch.float64),
        torch.tensor([[0.0], [1.2]], dtype=torch.float64),
    )


def step_size(family: Family) -> float:
    """An α that all three theorems allow."""
    return min(bounds.largest_step_size(family.constants, name) for name in bounds.INNER_SHARES)


def direction(family: Family, alpha: float, w: float, share: float) -> float:
    """E (1 - α share ∇²f_i) v_i at w, from derivatives written down by hand.

    Args:
        family: two tasks of one coordinate.
        alpha: α.
        w: where.
        share: of the curvature: 1 is MAML's and gives ∇F, 0 FO-MAML's, and on cosines sin(h)/h
            HF-MAML's.
    """
    straight = isinstance(family, Quadratics)
    centers, amplitudes = family.centers[:, 0].tolist(), family.amplitudes.tolist()
    total = 0.0
    for a, c in zip(amplitudes, centers, strict=True):
        adapted = w - alpha * a * (w - c if straight else math.sin(w - c))
        v = a * (adapted - c if straight else math.sin(adapted - c))
        total += (1 - alpha * share * a * (1.0 if straight else math.cos(w - c))) * v
    return total / len(centers)


def resting_point(family: Family, alpha: float, share: float) -> float:
    """The w where `direction` is zero, by bisection between the tasks' centers."""
    low, high = float(family.centers.min()), float(family.centers.max())
    for _ in range(200):
        middle = (low + high) / 2
        below = direction(family, alpha, middle, share) < 0
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def floor(family: Family, alpha: float, share: float) -> float:
    """|∇F| at the resting point."""
    return abs(direction(family, alpha, resting_point(family, alpha, share), 1.0))


def first_order_floor(family: Quadratics, alpha: float) -> float:
    """|∇F| where FO-MAML rests on two quadratics, in closed form.

    With e_i = 1 - αa_i it rests at w = Σ a_i e_i c_i / Σ a_i e_i, where
    ∇F = ½ Σ a_i e_i² (w - c_i) = ½ α a_1 e_1 a_2 e_2 (a_1 - a_2)(c_1 - c_2) / (a_1 e_1 + a_2 e_2)
    but for its sign.
    """
    (a, b), (c, d) = family.amplitudes.tolist(), family.centers[:, 0].tolist()
    first, second = a * (1 - alpha * a), b * (1 - alpha * b)
    return abs(alpha * first * second * (a - b) * (c - d) / (first + second) / 2)


class Case(NamedTuple):
    """An algorithm with its settings, and the share of the curvature that it sees."""

    label: str
    name: str
    settings: dict[str, float]
    share: float
    shift: float = 0.0  # h of HF-MAML


def cases(family: Family, alpha: float) -> list[Case]:
    """The algorithms that are run on a family."""
    first = [Case("MAML", "maml", {}, 1.0), Case("FO-MAML", "fo-maml", {}, 0.0)]
    if isinstance(family, Quadratics):  # differences of whose gradients are exact
        return [*first, Case("HF-MAML", "hf-maml", {}, 1.0)]
    lipschitz = family.constants.hessian_lipschitz
    published = 1 / (6 * lipschitz * alpha)
    own = (torch.finfo(torch.float64).eps * (1 + resting_point(family, alpha, 1.0))) ** (1 / 3)
    shifts = [(f"published h = {published:.3g}", {"hessian_lipschitz": lipschitz}, published)]
    shifts += [(f"h = {h:g}", {"shift": h}, h) for h in SHIFTS]
    shifts += [(f"the package's h = {own:.1e}", {}, own)]
    return first + [
        Case(f"HF-MAML, {label}", "hf-maml", settings, math.sin(h) / h, h)
        for label, settings, h in shifts
    ]


@dataclass(frozen=True)
class Stall:
    """The point where one algorithm comes to rest on one problem."""

    problem: str
    algorithm: str
    """Its name, and the settings that it has here."""
    h: float
    """HF-MAML's h."""
    gradient: float
    """‖∇F‖ at the end."""
    smallest: float
    """‖∇F‖ at its smallest on the way."""
    expected: float
    norms: list[float]
    """‖∇F‖ before every step and after the last."""
    closed_form: float | None
    """`expected` in closed form, for FO-MAML on quadratics."""


def stalls(steps: int = 400, share: float = 1.0) -> list[Stall]:
    """Run every algorithm on both problems.

    Args:
        steps: outer steps, at most.
        share: β as a share of β̃; where an algorithm rests does not depend on it.
    """
    results = []
    for family in (two(Quadratics), two(Cosines)):
        alpha = step_size(family)
        results += [_stall(family, alpha, case, steps, share) for case in cases(family, alpha)]
    return results


def _stall(family: Family, alpha: float, case: Case, steps: int, share: float) -> Stall:
    start = torch.full((1,), START, dtype=torch.float64)
    descent = exactly(family, case.name, alpha, start, steps, share, settings=case.settings)
    closed_form = None
    if isinstance(family, Quadratics) and case.name == "fo-maml":
        closed_form = first_order_floor(family, alpha)
    return Stall(
        problem=type(family).__name__,
        algorithm=case.label,
        h=case.shift,
        gradient=float(descent.norms[-1]),
        smallest=float(descent.norms.min()),
        expected=floor(family, alpha, case.share),
        norms=descent.norms.tolist(),
        closed_form=closed_form,
    )


def table(results: list[Stall]) -> str:
    """The study as text."""
    lines = [
        "Where ‖∇F‖ comes to rest on two tasks, all data.",
        "problem      algorithm                             smallest       end   expected",
    ]
    lines += [
        f"{row.problem:<13}{row.algorithm:<36}{row.smallest:10.2e}{row.gradient:10.2e}"
        f"{row.expected:11.2e}"
        for row in results
    ]
    return "\n".join(lines)
