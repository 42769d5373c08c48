"""Intervals over runs and tasks."""

import numpy as np
import pytest
from scipy import stats

from runners.evaluation import statistics
from runners.evaluation.statistics import gap_closed, gap_interval, interquartile_mean


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    values = np.array([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, -50.0, 6.0]])
    assert interquartile_mean(values) == np.mean([2, 3, 4, 5])
    assert interquartile_mean(values[:, :3]) == np.mean([1, 2, 4, 5])  # 6 scores: one at each end
    several = np.stack([values, 2 * values], -1)
    np.testing.assert_allclose(interquartile_mean(several), [3.5, 7])


@pytest.mark.parametrize("runs", [3, 5])
def test_an_interval_over_runs_covers_as_often_as_it_says(runs):
    """Of runs that differ as wholes, on tasks that they share."""
    rng = np.random.default_rng(0)
    trials = 4000
    tasks = rng.normal(size=(1, 10, 1))
    scores = tasks + rng.normal(size=(runs, 1, trials)) + rng.normal(size=(runs, 10, trials))
    low, high = statistics.interval(scores)
    covered = np.mean((low <= tasks.mean()) & (tasks.mean() <= high))
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


def test_an_interval_over_runs_is_scipys_of_their_means():
    scores = np.random.default_rng(1).normal(size=(4, 7, 3))
    found = statistics.interval(scores)
    for k in range(3):
        means = scores[:, :, k].mean(1)
        expected = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
        np.testing.assert_allclose(found[:, k], expected)


def test_the_interval_of_one_run_covers_other_tasks_but_not_other_kinds():
    rng = np.random.default_rng(2)
    trials, far = 4000, 100.0
    kinds = np.array([0, 1] * 20)
    scores = rng.normal(size=(40, trials)) + far * kinds[:, None]
    half = statistics.over_tasks(scores, kinds)
    covered = np.mean(np.abs(scores.mean(0) - far / 2) <= half)
    assert abs(covered - 0.95) < 0.02
    assert (half < 1).all()
    assert (statistics.over_tasks(scores) > 10).all()
    one = statistics.interval(scores[None], kinds)
    np.testing.assert_allclose(one, [scores.mean(0) - half, scores.mean(0) + half])


def test_one_task_of_a_kind_adds_nothing():
    scores = np.array([[1.0], [3.0], [100.0]])
    pair = np.sqrt(2 * np.var([1, 3], ddof=1) / 9)
    assert statistics.over_tasks(scores, np.array([0, 0, 1])) == pytest.approx(1.96 * pair)
    assert statistics.over_tasks(scores[:1]) == 0


def test_the_gap_is_that_of_each_run_with_its_own_oracle():
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 1000, (3, 20, 1))  # runs and tasks differ by far more than methods
    reference, oracle, half = hard, hard + 10, hard + np.array([0.0, 5.0, 10.0])
    np.testing.assert_allclose(gap_closed(half, reference, oracle), [0, 0.5, 1], atol=1e-9)
    found = gap_interval(half, reference, oracle)
    assert found is not None
    np.testing.assert_allclose(found, [[0, 0.5, 1]] * 2, atol=1e-9)
    assert gap_interval(half[:1], reference[:1], oracle[:1]) is None
    assert gap_interval(half, reference[:2], oracle[:2]) is None
