"""Tables of one evaluation."""

import dataclasses

import numpy as np

from runners.evaluation.results import Evaluation
from runners.evaluation.summaries import Group, Summary
from runners.reporting.score_tables import evaluation_table, kinds_table

RESULT = Evaluation(
    metric="return",
    preset="half-cheetah-dir",
    steps=(0, 1),
    tasks=np.array([0, 1, 0, 1]),
    episodes=20,
    iteration=10,
    train_env_steps=28_800_000,
    scores={"return": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [90.0, 80.0]])},
    mean=np.array([24.75, 23.0]),
    ci95=np.array([1.0, np.nan]),
)


def test_mean_and_interquartile_mean():
    (body,) = evaluation_table(RESULT, "meta-trained", 1).bodies
    assert (body.heading, body.note) == (
        "meta-trained",
        "28.8 million environment steps of training",
    )
    mean, iqm = body.rows
    assert [str(cell) for cell in mean.cells] == ["24.8 ± 1.0", "23.0"]
    assert [cell.value for cell in iqm.cells] == ["4.0", "5.0"]  # without the best and the worst


def test_kinds_of_task_have_means_of_all_scores():
    velocity = Summary(np.array([0.5, 1.0]), np.zeros(2))
    none = Summary(np.zeros(2), np.zeros(2))
    group = Group(2, np.array([3.0, 4.0]), np.zeros(2), {"x_velocity": np.array([0.25, 0.5])})
    result = dataclasses.replace(
        RESULT, groups={"forward": group}, others={"x_velocity": velocity, "diverged": none}
    )
    table = kinds_table(result, 1)
    assert table is not None
    (body,) = table.bodies
    assert (body.heading, body.note) == ("forward", "2 tasks")
    assert [row.label for row in body.rows] == ["return", "mean x velocity"]
    assert [cell.value for cell in body.rows[1].cells] == ["0.25", "0.50"]
    (total,) = kinds_table(dataclasses.replace(result, groups={}), 1).bodies
    assert (total.heading, total.rows[0].label) == ("all tasks", "mean x velocity")


def test_without_kinds_and_other_scores_there_is_no_table():
    assert kinds_table(RESULT, 1) is None
    diverged = {"diverged": Summary(np.zeros(2), np.zeros(2))}
    assert kinds_table(dataclasses.replace(RESULT, others=diverged), 1) is None
