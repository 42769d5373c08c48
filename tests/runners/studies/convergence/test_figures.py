"""Figures of the studies: what is drawn where."""

import numpy as np
import pytest

from runners.studies.convergence import figures
from runners.studies.convergence.estimator import MomentsStudy, SizeResult
from runners.studies.convergence.iterations import IterationCounts
from runners.studies.convergence.practice import Curve, Practice
from runners.studies.convergence.problems import Constants
from runners.studies.convergence.stalling import Stall

pytestmark = pytest.mark.pictures

CONSTANTS = Constants(1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The axes of the figure that a function draws, and the path that it is for."""

    def draw(function, study):
        saved = []
        monkeypatch.setattr(figures, "save", lambda figure, path: saved.append((figure, path)))
        function(study, tmp_path / "figure.svg")
        ((figure, path),) = saved
        assert path == tmp_path / "figure.svg"
        return figure.axes[0]

    return draw


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def points(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def size_result(inner):
    biases = [1.0 / inner, 2.0 / inner]
    return SizeResult(inner, max(biases), biases, 9.0 / inner, 4.0 / inner, 0.5, 1.0, 0.5)


def test_biases_at_every_point_are_beside_both_bounds(drawn):
    rows = [size_result(inner) for inner in (1, 4, 16)]
    study = MomentsStudy(CONSTANTS, 0.1, [[0.0]] * 2, [1.0] * 2, rows, [-1.0] * 2)
    axes = drawn(figures.bias, study)
    one, other, first, second = axes.lines
    assert points(one) == [(1, 1.0), (4, 0.25), (16, 0.0625)]
    assert points(other) == [(1, 2.0), (4, 0.5), (16, 0.125)]
    assert points(first) == [(1, 9.0), (4, 2.25), (16, 0.5625)]
    assert points(second) == [(1, 4.0), (4, 1.0), (16, 0.25)]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "4", "16"]
    assert len(labels(axes)) == 3  # one for all points, and one for each bound


def counts(power):
    return IterationCounts(
        power, CONSTANTS, 0.1, [0.4, 0.2, 0.1], [2, 5, 16], [100.0, 400.0, 1600.0], 1.7, 1.5, 0.02
    )


def test_iterations_are_beside_the_bound_and_the_slope_through_the_last_of_them(drawn):
    axes = drawn(figures.iterations, [counts(0.25), counts(1.0)])
    assert len(axes.lines) == 6
    measured, expected, bound = axes.lines[:3]
    assert points(measured) == [(0.4, 2), (0.2, 5), (0.1, 16)]
    assert points(bound) == [(0.4, 100), (0.2, 400), (0.1, 1600)]
    np.testing.assert_allclose(expected.get_ydata(), [16 / 8, 16 / 2**1.5, 16])
    assert "p = 0.25: slope -1.700" in labels(axes)
    assert len({line.get_color() for line in axes.lines[:3]}) == 1
    assert axes.lines[0].get_color() != axes.lines[3].get_color()


def stall(problem, method):
    return Stall(problem, method, 0.0, 0.1, 0.1, 0.1, [1.0, 0.5, 0.1], None)


def test_descents_on_cosines_alone_are_drawn_and_told_apart(drawn):
    methods = [f"method {k}" for k in range(8)]
    results = [stall("Quadratics", "MAML"), *(stall("Cosines", name) for name in methods)]
    axes = drawn(figures.stalls, results)
    assert labels(axes) == methods
    assert all(list(line.get_ydata()) == [1.0, 0.5, 0.1] for line in axes.lines)
    looks = {(line.get_linestyle(), line.get_color()) for line in axes.lines}
    assert len(looks) == 8
    assert axes.get_yscale() == "log"


def test_errors_along_training_have_a_line_each(drawn):
    curves = {
        "MAML": Curve([0, 10], [4.0, 1.0]),
        "MAML, Adam": Curve([0, 5, 10], [4.0, 2.0, 0.5]),
    }
    study = Practice("sinusoid", CONSTANTS, 0.1, 0.2, curves, {"MAML, Adam": 0.01})
    axes = drawn(figures.practice, study)
    assert labels(axes) == list(curves)
    assert points(axes.lines[0]) == [(0, 4.0), (10, 1.0)]
    assert points(axes.lines[1]) == [(0, 4.0), (5, 2.0), (10, 0.5)]
    assert axes.get_ylim()[0] == 0


def test_a_figure_is_written(tmp_path):
    figures.stalls([stall("Cosines", "MAML")], tmp_path / "plots" / "stalls.svg")
    text = (tmp_path / "plots" / "stalls.svg").read_text()
    assert text.startswith("<?xml")
