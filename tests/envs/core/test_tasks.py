"""Tasks of a family: what is a point of its space, and which splits there are."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from envs.core.tasks import Tasks, check_split


class Points(Tasks):
    def __init__(self, space):
        self.space = space
        self.default = space.sample()

    def sample(self, n, rng, split="train"):
        check_split(split)
        return np.stack([self.default] * n)

    def reward(self, tasks, result):
        return result


def test_tasks_are_copied_and_cannot_be_written_to():
    family = Points(spaces.Box(-1, 1, (2,), np.float64))
    given = np.zeros((3, 2), np.float32)
    checked = family.check(given, 3)
    given[...] = 1
    assert checked.dtype == np.float64
    assert not checked.any()
    with pytest.raises(ValueError, match="read-only"):
        checked[0] = 1


@pytest.mark.parametrize(
    ("space", "tasks", "message"),
    [
        (spaces.Box(-1, 1, (2,), np.float64), [[0, 2]], "task 0 is .*outside the task space Box"),
        (spaces.Box(-1, 1, (2,), np.float64), [[0, np.nan]], "task 0 is .*nan"),
        (spaces.Box(-1, 1, (2,), np.float64), [0, 0], r"have shape \(2,\), expected \(1, 2\)"),
        (spaces.Box(-1, 1, (2,), np.float64), [["a", "b"]], "must be numbers"),
        (spaces.Box(-1, 1, (3, 3), np.float64), np.full((1, 3, 3), 2.0), r"2.0 at \[0, 0\]"),
        (spaces.Discrete(2, start=1), [0], "task 0 is 0"),
        (spaces.Discrete(2, start=1), [3], "task 0 is 3"),
        (spaces.Discrete(2), [1.0], "pass an integer array"),
    ],
)
def test_points_outside_the_space_are_refused(space, tasks, message):
    with pytest.raises(ValueError, match=message):
        Points(space).check(tasks, 1)


def test_describe_is_short():
    assert Points(spaces.Discrete(2)).describe(np.array(1)) == "task 1"
    large = Points(spaces.Box(0, 1, (30, 30), np.float64))
    assert len(large.describe(np.zeros((30, 30)))) < 200


def test_splits():
    assert [check_split(split) for split in ("train", "validation", "test")]
    with pytest.raises(ValueError, match="'dev'"):
        check_split("dev")
