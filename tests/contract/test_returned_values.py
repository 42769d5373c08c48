"""What steps return beside the rules, and is taken for what is meant: a row for each kind."""

import gymnasium
import numpy as np
import pytest
import torch

from tests.contract.test_environments import Batch, assert_same_episodes
from tests.helpers import goal
from tests.helpers.goal import Goal, changed, variant


class InPlace(Goal):
    """Writes where it is into one array, which it returns."""

    def __init__(self):
        self.x = np.zeros(2, np.float32)

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.x[:], self.time = self.np_random.uniform(-1, 1, 2), 0
        return self.x, {}

    def step(self, action):
        self.x += action
        self.time += 1
        return self.seen(), -float(np.linalg.norm(self.x - self.goal)), False, self.time == 4, {}

    def seen(self):
        return self.x


def test_the_last_observation_of_an_episode_stays_where_the_state_is_written_in_place():
    own = variant("B", InPlace, seen=lambda self: self.x.copy())
    assert_same_episodes(variant("A", InPlace), own)


REPORTS = {  # of every other copy
    "an integer, then a float": (0, 0.75),
    "a flag, then a float": (True, 2.5),
    "a number, then a word": (1, "fell"),
    "a number, then nothing": (1, None),
    "an array, then a longer one": (np.zeros(2), np.ones(3)),
    "an array, then a number": (np.zeros(2), 1.5),
    "a dictionary, then a number": ({"x": 1}, 1.5),
    "a number, then a dictionary": (1.5, {"x": 1}),
    "more than 64 bits": (2**70, 2),
}


@pytest.mark.parametrize("case", REPORTS)
def test_copies_may_report_what_is_of_several_kinds(case):
    first, second = REPORTS[case]

    def change(self, o, r, d, t, i):
        value = first if self.goal[0] < 0 else second
        return o, r, d, self.time == 4, {"x": value}

    members = {"sample_tasks": lambda self, n, rng: np.array([[-0.5, 0], [0.5, 0]])[:n]}
    numbers = all(isinstance(each, int | float) for each in (first, second))
    if numbers:
        members["diagnostics"] = ("x",)
    played = goal.sampled(goal.small(changed("A", change, **members)))
    if numbers:
        assert played.diagnostics["x"][:, 0, 0].tolist() == [float(first), float(second)]
    assert played.mask.sum() == 2 * 3 * 4


KINDS_OF_BATCHES = {
    "integers": lambda x: x.astype(int) if x.dtype == bool else x,
    "floats": lambda x: x.astype(np.float32),
    "lists": lambda x: x.tolist(),
    "tensors": torch.as_tensor,
}


@pytest.mark.parametrize("kind", KINDS_OF_BATCHES)
def test_a_batched_version_returns_numbers_of_any_kind(kind):
    class Ending(Batch):
        def step(self, actions):
            *step, _, truncations, info = super().step(actions)
            return *step, np.arange(self.num_envs) == self.time, truncations, info

    class Kind(Ending):
        def step(self, actions):
            *arrays, info = super().step(actions)
            return *map(KINDS_OF_BATCHES[kind], arrays), info

    for name, made in (("Ending-v0", Ending), ("Kind-v0", Kind)):
        gymnasium.registry.pop(name, None)
        gymnasium.register(name, entry_point=Goal, vector_entry_point=made)
    assert_same_episodes("Ending-v0", "Kind-v0")
