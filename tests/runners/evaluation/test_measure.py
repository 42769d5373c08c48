"""Adaptation to held-out tasks, and what its result says of itself."""

import dataclasses
import hashlib

import numpy as np
import pytest

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import FITS, measure
from tests.helpers.runs import tiny

pytestmark = pytest.mark.slow

SMALL = EvalConfig(tasks=3, episodes=2, steps=2)


def test_later_steps_may_be_half_as_long(seeds):
    whole = measure(seeds[0], SMALL, quiet=True)
    halved = measure(seeds[0], dataclasses.replace(SMALL, later_step_share=0.5), quiet=True)
    assert halved.later_step_size == whole.step_size / 2
    assert halved.mean[:2].tolist() == whole.mean[:2].tolist()
    assert halved.mean[2] != whole.mean[2]


def test_it_says_which_parameters_it_measured(tmp_path):
    folder = tiny(tmp_path / "run")
    for chosen, iteration in ((None, 4), (folder.checkpoints / "000002", 2)):
        result = measure(folder, dataclasses.replace(SMALL, checkpoint=chosen), quiet=True)
        place = folder.checkpoints / f"{iteration:06d}"
        digest = hashlib.sha256((place / checkpoint.META).read_bytes()).hexdigest()
        assert (result.iteration, result.checkpoint_sha256) == (iteration, digest)
        assert result.measured(iteration, digest)
        assert not result.measured(iteration, "0" * 64)
        assert not result.measured(iteration + 1, digest)
        assert dataclasses.replace(result, checkpoint_sha256=None).measured(iteration, "0" * 64)
    assert result.checkpoint == "000002"


def test_it_writes_nothing(tmp_path):
    folder = tiny(tmp_path / "run")
    before = sorted(folder.path.rglob("*"))
    measure(folder, SMALL, quiet=True)
    assert sorted(folder.path.rglob("*")) == before


def test_the_same_tasks_given_are_the_same_evaluation(seeds):
    drawn = measure(seeds[0], SMALL, quiet=True)
    given = measure(seeds[0], SMALL, tasks=drawn.tasks, quiet=True)
    assert given.tasks_given
    assert not drawn.tasks_given
    assert given.task_list == drawn.task_list
    np.testing.assert_array_equal(given.scores["return"], drawn.scores["return"])
    assert given.draws == drawn.draws


def test_likeliest_actions_are_other_returns_of_the_same_adaptation(seeds):
    drawn = measure(seeds[0], SMALL, quiet=True)
    likeliest = measure(seeds[0], dataclasses.replace(SMALL, deterministic=True), quiet=True)
    assert likeliest.scores["return"].shape == drawn.scores["return"].shape
    assert likeliest.mean.tolist() != drawn.mean.tolist()
    assert likeliest.draws != drawn.draws


def test_kinds_of_task_add_up_to_all(seeds):
    result = measure(seeds[0], SMALL, quiet=True)
    assert sum(group.tasks for group in result.groups.values()) == 3
    total = sum(group.tasks * group.mean for group in result.groups.values())
    np.testing.assert_allclose(total / 3, result.mean, rtol=1e-5, atol=1e-6)


def test_a_regression_keeps_a_few_curves(tmp_path):
    folder = tiny(tmp_path / "run", preset="sinusoid")
    result = measure(folder, EvalConfig(tasks=6, steps=2, queries=7), quiet=True)
    assert len(result.fits) == FITS
    fit = result.fits[0]
    assert fit.curves.shape == (3, len(fit.grid))
    assert fit.query.shape == (2, 7)
    x, y = fit.query  # the curve before adaptation, at the query examples, has their error
    error = np.mean((np.interp(x, fit.grid, fit.curves[0]) - y) ** 2)
    assert error == pytest.approx(result.scores["mse"][0, 0], rel=0.05)


def test_what_an_evaluation_cannot_have(seeds):
    with pytest.raises(ConfigError, match="There is no checkpoint"):
        measure(seeds[0], EvalConfig(checkpoint=seeds[0].checkpoints / "000999"))
    with pytest.raises(ConfigError, match="step_size"):
        measure(seeds[0], EvalConfig(step_size=-1.0))
