"""Learning curves: what is drawn where."""

import itertools

import numpy as np
import pytest

from runners.training import plots

LINES = [
    {"iteration": k, "env_steps": 1e6 * k, "return/pre": -90.0 + k, "return/post": 10.0 * k}
    for k in range(4)
]


def drawn(draw, *arguments, **options):
    """The axes of a figure that is handed over."""
    figures = []
    draw(*arguments, figures.append, "", **options)
    (figure,) = figures
    return figure.axes[0]


def labeled(axes):
    """Lines by their label; those that the legend leaves out are not among them."""
    lines = {line.get_label(): line for line in axes.lines}
    return {label: line for label, line in lines.items() if not label.startswith("_")}


def test_a_learning_curve_has_runs_levels_and_validation():
    validated = [*LINES[:2], LINES[2] | {"validation/return/post": 7.0}, LINES[3]]
    levels = [("paper", 5.0, "black")]
    axes = drawn(plots.learning_curve, validated, runs=[LINES, LINES], levels=levels)
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["after adaptation"].get_ydata(), [0, 10, 20, 30])
    np.testing.assert_allclose(lines["after adaptation"].get_xdata(), [0, 1, 2, 3])
    validation = lines["after adaptation, validation tasks"]
    assert (list(validation.get_xdata()), list(validation.get_ydata())) == ([2.0], [7.0])
    assert set(lines["paper"].get_ydata()) == {5.0}
    assert len(axes.lines) == 2 * 3 + 2  # each run beside each mean


def test_returns_before_adaptation_are_apart_from_those_after():
    lines = labeled(drawn(plots.learning_curve, LINES))
    np.testing.assert_allclose(lines["before adaptation"].get_ydata(), [-90, -89, -88, -87])
    colors = {line.get_color() for line in lines.values()}
    assert len(colors) == 2


def test_a_run_that_is_ahead_of_the_mean_is_cut_to_it():
    axes = drawn(plots.learning_curve, LINES[:2], runs=[LINES])
    assert {len(line.get_xdata()) for line in axes.lines} == {2}


def test_errors_of_examples_stand_at_iterations_and_are_smoothed_backward():
    """A window of two lines: each mean is of the line and the one before, none of a later one."""
    lines = [{"iteration": 10 * k, "mse/pre": 5.0, "mse/post": float(k == 50)} for k in range(100)]
    axes = drawn(plots.learning_curve, lines)
    assert axes.get_xlabel() == "meta-iterations"
    assert axes.get_ylabel() == "mean squared error"
    smooth = labeled(axes)["after adaptation (mean of 2 lines)"]
    np.testing.assert_array_equal(smooth.get_xdata(), np.arange(0, 1000, 10) + 1)
    expected = np.zeros(100)
    expected[[50, 51]] = 0.5
    np.testing.assert_allclose(smooth.get_ydata(), expected, atol=1e-12)
    fewer = labeled(drawn(plots.learning_curve, lines[:99]))
    assert "after adaptation" in fewer  # as few are not smoothed


@pytest.mark.parametrize("window", [1, 3])
def test_compared_curves_are_means_over_seeds_in_a_band_of_their_range(window):
    def run(offset):
        return [{"return/post": offset + k**2} for k in range(6)]

    runs = {"one": [run(0.0), run(10.0)], "other": [run(1.0), run(1.0)]}
    axes = drawn(plots.compared_curves, runs, window=window)
    lines = labeled(axes)
    assert list(lines) == ["one", "other"]
    squares = np.arange(6.0) ** 2
    means = [squares[k : k + window].mean() for k in range(7 - window)]
    np.testing.assert_allclose(lines["one"].get_ydata(), np.array(means) + 5)
    # A mean stands at the last iteration that it is of, counted from one.
    np.testing.assert_array_equal(lines["one"].get_xdata(), np.arange(window, 7))
    assert lines["one"].get_linestyle() != lines["other"].get_linestyle()
    heights = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in axes.collections]
    assert heights[0] == pytest.approx(means[-1] - means[0] + 10)
    assert heights[1] == pytest.approx(means[-1] - means[0])


def test_more_ways_to_train_than_line_styles_are_told_apart():
    runs = {f"way {k}": [[{"return/post": 1.0}] * 5] for k in range(6)}
    lines = labeled(drawn(plots.compared_curves, runs)).values()
    looks = [(line.get_linestyle(), line.get_color()) for line in lines]
    assert len(looks) == 6
    assert all(a != b for a, b in itertools.combinations(looks, 2))
