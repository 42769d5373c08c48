"""Validation, and which checkpoint is the best."""

from dataclasses import replace

import pytest

from rlmaml import checkpoint
from runners import presets
from runners.environments import build_experiment
from runners.training import train
from tests.helpers.runs import evaluated, learned, tiny

pytestmark = pytest.mark.slow


def test_the_best_checkpoint_is_kept_and_is_the_one_that_was_measured(tmp_path, capsys):
    folder = tiny(tmp_path / "run", "--iterations", 12, "--checkpoint-every", 2)
    measured = {x["iteration"]: x["return/post"] for x in folder.read_metrics()}
    best = max(range(2, 12, 2), key=measured.__getitem__)
    assert learned(folder).state["totals"]["best_iteration"] == best
    assert best in checkpoint.available(folder.checkpoints)
    assert f"{best:06d}" in capsys.readouterr().out
    place = folder.checkpoints / f"{best:06d}"
    evaluated(folder, tasks=2, episodes=2, steps=0, checkpoint=place)


def test_validator_draws_the_same_tasks_every_time():
    config = replace(presets.PRESETS["sinusoid"][1], validation_tasks=4)
    experiment = build_experiment(config)
    state = experiment.algorithm.init(experiment.params)
    validator = train.Validator(config)
    assert validator(state, None) == validator(state, None)
