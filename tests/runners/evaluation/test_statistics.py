"""Intervals over runs and tasks."""

import numpy as np
import pytest

from runners.evaluation.statistics import bootstrap, gap_closed, interquartile_mean, mean

pytestmark = pytest.mark.slow


def scores():
    """Three runs that differ as wholes, on 40 tasks."""
    rng = np.random.default_rng(7)
    return rng.gamma(2.0, 30.0, (3, 40)) + rng.normal(0, 40, (3, 1))


# rliable 1.2.0 (numpy 2.4.6, scipy 1.17.1) on these scores: get_interval_estimates(reps=50000,
# task_bootstrap=True) after np.random.seed(0). Two such runs differ by about .1.
RLIABLE = {
    mean: (63.81628392, 54.90933548, 72.99608152),
    interquartile_mean: (58.21494952, 48.64994098, 68.16037828),
}


@pytest.mark.parametrize("statistic", RLIABLE)
def test_as_rliable_has_them(statistic):
    value, low, high = RLIABLE[statistic]
    assert statistic(scores()) == pytest.approx(value, abs=1e-8)
    found = bootstrap(statistic, scores(), resamples=20_000)
    np.testing.assert_allclose(found, (low, high), atol=0.4)


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    values = np.array([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, -50.0, 6.0]])
    assert interquartile_mean(values) == np.mean([2, 3, 4, 5])
    assert interquartile_mean(values[:, :3]) == np.mean([1, 2, 4, 5])  # 6 scores: one at each end
    several = np.stack([values, 2 * values], -1)
    np.testing.assert_allclose(interquartile_mean(several), [3.5, 7])


def test_intervals_cover_as_often_as_they_say():
    """Of normal scores with independent runs and tasks, where the mean's interval is known."""
    rng = np.random.default_rng(0)
    covered = []
    for trial in range(200):
        low, high = bootstrap(mean, rng.normal(size=(2, 30)), resamples=400, seed=trial)
        covered.append(low <= 0 <= high)
    assert 0.88 <= np.mean(covered) <= 0.985


def test_runs_that_differ_as_wholes_widen_only_the_interval_over_whole_runs():
    rng = np.random.default_rng(1)
    apart = rng.normal(size=(3, 50)) + np.array([[-100.0], [0], [100]])
    within = np.subtract(*bootstrap(mean, apart)[::-1])
    whole = np.subtract(*bootstrap(mean, apart, whole_runs=True)[::-1])
    assert whole > 150 > 60 > within
    one = rng.normal(size=(1, 50))
    np.testing.assert_array_equal(bootstrap(mean, one), bootstrap(mean, one, whole_runs=True))


def test_the_gap_is_resampled_with_the_same_runs_and_tasks_for_all():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 1000, (2, 20, 1))  # tasks differ by far more than methods
    reference, oracle, half = hard, hard + 10, hard + np.array([0.0, 5.0, 10.0])
    np.testing.assert_allclose(gap_closed(half, reference, oracle), [0, 0.5, 1], atol=1e-9)
    low, high = bootstrap(gap_closed, half, reference, oracle)
    np.testing.assert_allclose(low, [0, 0.5, 1], atol=1e-9)
    np.testing.assert_allclose(high, [0, 0.5, 1], atol=1e-9)
