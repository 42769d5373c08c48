"""Plots of results: what is drawn where."""

import numpy as np
import pytest

from runners.evaluation import plots
from runners.evaluation.results import Evaluation
from runners.evaluation.summaries import Group

pytestmark = pytest.mark.pictures


def result(tasks, **more):
    returns = np.arange(3.0 * len(tasks)).reshape(len(tasks), 3)
    return Evaluation(
        metric="return",
        preset="navigation",
        steps=(0, 1, 2),
        tasks=np.array(tasks),
        episodes=2,
        iteration=1,
        train_env_steps=1,
        scores={"return": returns},
        mean=returns.mean(0),
        ci95=np.ones(3),
        **more,
    )


def drawn(draw, *arguments, **options):
    """The axes of a figure that is handed over."""
    figures = []
    draw(*arguments, figures.append, "", **options)
    (figure,) = figures
    return figure.axes[0]


@pytest.mark.parametrize(
    ("tasks", "x", "label"),
    [
        ([0.5, 1.5], [0.5, 1.5], "task"),
        ([[0.5], [1.5]], [0.5, 1.5], "task"),
        ([[3.0, 4.0], [0.0, 1.0]], [5.0, 1.0], "distance of the goal from the origin"),
        ([[[1.0, 2.0, 3.0]]] * 2, [0, 1], "tasks, by their return before adaptation"),
    ],
)
def test_returns_stand_at_their_tasks(tasks, x, label):
    axes = drawn(plots.per_task, result(tasks))
    assert axes.get_xlabel() == label
    before, after, last = axes.collections
    np.testing.assert_allclose(before.get_offsets(), np.stack([x, [0.0, 3.0]], 1))
    np.testing.assert_allclose(after.get_offsets()[:, 1], [1.0, 4.0])
    np.testing.assert_allclose(last.get_offsets()[:, 1], [2.0, 5.0])


def test_kinds_of_task_have_a_line_and_a_tick_each():
    groups = {
        name: Group(1, np.full(3, value), np.zeros(3))
        for name, value in (("forward", 1.0), ("backward", 2.0))
    }
    both = result([0, 1], groups=groups)
    lines = {line.get_label(): line for line in drawn(plots.adaptation_curve, both).lines}
    assert list(lines) == ["all tasks", "forward", "backward"]
    np.testing.assert_allclose(lines["all tasks"].get_ydata(), both.mean)
    np.testing.assert_allclose(lines["backward"].get_ydata(), [2.0, 2.0, 2.0])
    ticks = drawn(plots.per_task, both).get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["forward", "backward"]


def test_a_plot_is_written_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "plots" / "tasks.png"
    plots.per_task(result([0.5, 1.5]), path, "navigation")
    assert path.read_bytes().startswith(b"\x89PNG")
