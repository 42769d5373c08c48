"""Lists of tasks that are drawn once."""

import dataclasses

import numpy as np
import pytest

from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.fixed_tasks import FixedTasks
from runners.environments import build_experiment


def law(n, rng, split="train"):
    return rng.uniform(10.0 if split == "test" else 0.0, 11.0, size=(n, 2))


def rows(tasks):
    return {tuple(row) for row in tasks.tolist()}


def test_all_draws_are_from_one_list_a_split():
    fixed = FixedTasks(law, 1337, {"train": 7, "test": 4})
    listed = rows(fixed(7, generator(0)))
    assert len(listed) == 7
    for seed in range(5):
        drawn = fixed(5, generator(seed))
        assert drawn.shape == (5, 2)
        assert len(rows(drawn)) == 5
        assert rows(drawn) <= listed
    again = FixedTasks(law, 1337, {"train": 7})
    assert rows(again(7, generator(9))) == listed
    assert rows(FixedTasks(law, 0, {"train": 7})(7, generator(0))).isdisjoint(listed)
    test = fixed(4, generator(0), split="test")
    assert test.min() >= 10
    assert rows(test) == rows(fixed(4, generator(1), split="test"))


def test_none_comes_twice_before_each_has_come():
    fixed = FixedTasks(law, 0, {"test": 4})
    _, counts = np.unique(fixed(10, generator(0), split="test"), axis=0, return_counts=True)
    assert sorted(counts) == [2, 2, 3, 3]


def test_a_split_without_a_list_has_new_tasks():
    fixed = FixedTasks(law, 0, {"test": 4})
    np.testing.assert_array_equal(fixed(3, generator(5)), law(3, generator(5)))
    assert rows(fixed(3, generator(5))).isdisjoint(rows(fixed(3, generator(6))))


@pytest.mark.parametrize("data", ["episodes", "examples"])
def test_runs_of_other_seeds_have_the_same_list(data):
    env = EnvConfig("rlmaml/Sinusoid-v0", train_tasks=3, test_tasks=2)
    drawn = []
    for seed in (0, 1):
        config = TrainConfig(env=env, data=data, horizon=1, tasks=2, episodes=2, seed=seed)
        experiment = build_experiment(config)
        drawn.append([rows(experiment.sample_tasks(9, generator(seed), split=s)) for s in SPLITS])
        experiment.close()
    assert drawn[0] == drawn[1]
    assert [len(each) for each in drawn[0]] == [3, 2]
    assert drawn[0][0].isdisjoint(drawn[0][1])


SPLITS = ("train", "test")


@pytest.mark.parametrize("name", ["train_tasks", "test_tasks"])
def test_empty_lists_are_refused(name):
    with pytest.raises(ConfigError, match=f"env.{name} is 0: at least 1"):
        dataclasses.replace(EnvConfig(), **{name: 0})
