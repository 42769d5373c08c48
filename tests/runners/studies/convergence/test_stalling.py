"""Where each algorithm comes to rest."""

import pytest
import torch

from runners.studies.convergence import stalling
from runners.studies.convergence.descent import exactly, update
from runners.studies.convergence.problems import Cosines, Quadratics, full_batch

pytestmark = pytest.mark.slow


def test_where_each_method_rests():
    """β = 6 β̃, which is nearly a Newton step here: where a descent rests does not depend on β."""
    results = {(row.problem, row.algorithm): row for row in stalling.stalls(40, share=6.0)}
    assert len(results) == 10
    for row in results.values():
        assert row.gradient == pytest.approx(row.expected, abs=1e-13)
        if row.expected > 1e-12:  # nor is it smaller on the way
            assert row.smallest == pytest.approx(row.expected, rel=1e-6)
    for problem in ("Quadratics", "Cosines"):
        assert results[problem, "MAML"].gradient < 1e-15
        assert results[problem, "FO-MAML"].smallest > 5e-3
    quadratic = results["Quadratics", "FO-MAML"]
    assert quadratic.gradient == pytest.approx(quadratic.closed_form, rel=1e-10)
    by_h = {row.h: row.gradient for row in results.values() if row.h}
    smallest, *shifts, published = sorted(by_h)
    assert (by_h[smallest] < 1e-12, shifts) == (True, [0.125, 0.25, 0.5])
    assert published == pytest.approx(10 / 6)
    for h in (0.125, 0.25):  # h² but for its own fourth power
        assert by_h[2 * h] / by_h[h] == pytest.approx(4, rel=0.02)


def test_the_step_of_the_analysis_rests_there_too():
    """β = β̃, for one that stalls."""
    family = stalling.two(Cosines)
    alpha = stalling.step_size(family)
    start = torch.full((1,), stalling.START, dtype=torch.float64)
    descent = exactly(family, "fo-maml", alpha, start, 300, 1.0)
    expected = stalling.floor(family, alpha, 0.0)
    assert float(descent.norms[-1]) == pytest.approx(expected, abs=1e-13)
    assert float(descent.norms.min()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [Quadratics, Cosines])
def test_resting_points_are_those_of_the_packages_own_updates(kind):
    family = stalling.two(kind)
    alpha, batch = stalling.step_size(family), full_batch(family)
    for case in stalling.cases(family, alpha):
        w = stalling.resting_point(family, alpha, case.share)
        at = torch.full((1,), w, dtype=torch.float64)
        objective = family.objective(case.name, alpha, **case.settings)
        assert float(update(objective, at, batch).abs()) < 1e-12, case.label
        away = at + 0.1
        expected = stalling.direction(family, alpha, float(away), case.share)
        assert float(update(objective, away, batch)) == pytest.approx(expected, rel=1e-9), (
            case.label
        )


def test_first_order_maml_does_not_stall_where_curvatures_are_equal():
    family = Quadratics(torch.ones(2).double(), torch.tensor([[0.0], [1.2]]).double())
    start = torch.full((1,), -0.9, dtype=torch.float64)
    assert float(exactly(family, "fo-maml", 0.1, start, 400, 1.0).norms[-1]) < 1e-15
    assert stalling.first_order_floor(family, 0.1) == 0
