"""Environments by their ids: ours, other people's, and families of examples."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml.envs_location import PRIVATE_NAME
from rlmaml.rng import generator
from runners import environments, presets
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from tests.helpers.pendulum import GoalPendulum
from tests.helpers.runs import TINY, assert_same_run, evaluated, refused, run

pytestmark = pytest.mark.slow


def test_a_users_environment_by_its_id(tmp_path):
    """Gymnasium's module:id imports the module that registers it."""
    for mode in ("sync", "async"):
        run(
            *("train", "navigation", "--out", tmp_path / mode, *TINY),
            *("--env.id", "tests.helpers.pendulum:GoalPendulum-v0", "--env.vectorization", mode),
        )
    assert_same_run(RunDir(tmp_path / "sync"), RunDir(tmp_path / "async"))
    result = evaluated(RunDir(tmp_path / "sync"), tasks=2, episodes=2, steps=1)
    assert len(result["per_task"]) == 2


@pytest.fixture
def modules():
    """Forgets what a test imports under a private name, which would stay ours for the others."""
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == PRIVATE_NAME]:
        del sys.modules[name]


def test_a_foreign_envs_is_no_hindrance(monkeypatch, tmp_path, modules):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "envs")
    experiment = build_experiment(presets.PRESETS["navigation"][1], tasks=1)
    assert experiment.sample_tasks(2, generator(0)).shape == (2, 2)
    experiment.close()


def test_a_method_with_fresh_minibatches_is_evaluated_on_one_set_of_shots():
    config = with_algorithm(replace(PRESETS["sinusoid"][1], tasks=3), "reptile")
    counts = {}
    for tasks in (None, 3):
        sampler = build_experiment(config, tasks=tasks).sampler
        points = sampler.family.sample(3, generator(0))
        sets = [sampler({}, points, (0, 0, 0), "support", k).inputs for k in range(5)]
        counts[tasks] = len(torch.cat(sets, 1)[0].unique())
    assert counts == {None: 5 * config.examples.shots, 3: config.examples.shots}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gymnasium.spaces.Text(3), "task_space is Text"),
        (gymnasium.spaces.Box(-np.inf, np.inf, (1,)), "Cannot draw tasks uniformly"),
    ],
)
def test_tasks_that_cannot_be_drawn_are_refused_before_anything_is_written(
    tmp_path, capsys, monkeypatch, space, message
):
    kind = type("Undrawable", (GoalPendulum,), {"task_space": space})
    monkeypatch.delitem(gymnasium.registry, "Undrawable-v0", raising=False)
    gymnasium.register("Undrawable-v0", entry_point=kind)
    own = ("--env.id", "Undrawable-v0", "--env.kwargs", "{}")
    assert message in refused(capsys, "train", "navigation", "--out", tmp_path / "run", *TINY, *own)
    assert not (tmp_path / "run").exists()


def test_environments_are_closed_where_nothing_can_be_built_of_them(monkeypatch):
    closed = []
    monkeypatch.setattr(
        environments, "make_env", lambda *_: SimpleNamespace(close=lambda: closed.append(1))
    )
    with pytest.raises(AttributeError):  # it is no environment
        build_experiment(PRESETS["navigation"].config)
    assert closed == [1]
