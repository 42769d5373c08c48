"""Environments that are odd from the start: a row says how, and what becomes of a run."""

import re
import sys

import numpy as np
import pytest
from gymnasium import spaces

from runners import environments
from tests.helpers import goal, runs
from tests.helpers.goal import Goal, changed, refused, trained, variant


def raising(error):
    def made(self):
        raise error

    return lambda: variant("A", __init__=made)


def ending(self, *_):
    sys.exit(0)


def begun(self, task):
    """A `set_task` that needs what `reset` makes."""
    self.goal = self.x * 0 + task


def asleep(self, task):
    """A `set_task` that is for the time before the first reset."""
    assert not hasattr(self, "x"), "too late"
    self.goal = task


REFUSED = {
    "a KeyError": (raising(KeyError("license")), "make the environment A-v0 .*KeyError: 'license'"),
    "an assertion": (raising(AssertionError("two\nlines")), "AssertionError: two lines"),
    "an end of the program": (raising(SystemExit(0)), "make the environment A-v0 .*SystemExit: 0"),
    "an end of the program in step": (
        lambda: changed("A", ending),
        "`step` raised SystemExit: 0",
    ),
    "an end of the program in reset": (
        lambda: variant("A", seen=ending),
        "`reset` raised SystemExit: 0",
    ),
    "no observation space": (
        lambda: variant("A", observation_space=None),
        "`observation_space` is None: let `__init__` make it a space",
    ),
    "an action space of another package": (
        lambda: variant("A", action_space=object),
        "`action_space` is <class 'object'>",
    ),
    "tasks before the first reset alone": (
        lambda: variant("A", set_task=asleep),
        "`set_task` raised AssertionError: too late",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_in_one_line(case, tmp_path, capsys):
    make, words = REFUSED[case]
    assert re.search(words, refused(capsys, make(), tmp_path / "run"))


ODD = {
    "a task that is set after a reset alone": {"set_task": begun},
    "a description of itself": {"describe": lambda self: "a point"},
    "a description in words": {"describe": "a point"},
    "a description that fails": {"describe": lambda self, task: {}[task]},
    "diagnostics that are a flag": {"diagnostics": False},
    "diagnostics that are a method": {"diagnostics": lambda self: {}},
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_trained_on_and_measured(case, tmp_path):
    folder = trained(variant("A", task_space=spaces.Discrete(2), **ODD[case]), tmp_path / "run")
    groups = runs.evaluated(folder, tasks=2, episodes=2, steps=0)["groups"]
    assert set(groups) <= {"task 0", "task 1"}
    env = environments.make_single(folder.read_config())
    environments.set_task(env, np.array([0.1, 0.2]))  # before its first reset
    assert isinstance(env.unwrapped, Goal)


def test_the_name_of_one_diagnostic_is_not_its_letters():
    name = changed("A", lambda self, *rest: (*rest[:4], {"speed": 2.0}), diagnostics="speed")
    assert (goal.sampled(goal.small(name)).diagnostics["speed"] == 2).all()
