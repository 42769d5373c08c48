"""What becomes of the spaces that somebody's environment has.

A row is a space and what happens: it trains, is loaded, adapted and exported, or is refused with
these words before anything is written. The next case is a row more.
"""

import contextlib
import re
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rlmaml
from rlmaml import algorithms
from rlmaml.config import EnvConfig
from runners.environments import build_experiment
from runners.presets.overrides import with_algorithm
from tests.helpers import goal, runs
from tests.helpers.goal import refused, trained, variant

pytestmark = pytest.mark.slow

Box, Discrete, Dict, Tuple = spaces.Box, spaces.Discrete, spaces.Dict, spaces.Tuple
MultiDiscrete, MultiBinary = spaces.MultiDiscrete, spaces.MultiBinary

NUMBERS = MultiDiscrete([3, 2], start=[-1, 5])

ACTIONS = {
    "numbers": (NUMBERS, lambda a: (a - [0, 5]) * 0.1, ()),
    "a table of numbers": (MultiDiscrete([[3, 2]]), lambda a: a[0] * 0.1, ()),
    "bits": (MultiBinary(2), lambda a: (a - 0.5) * 0.2, ()),
    "a table of bits": (MultiBinary([2, 2]), lambda a: (a[0] - a[1]) * 0.1, ()),
    "a box far from 0": (
        Box(np.float32([5, 0]), np.float32([10, 1000])),
        lambda a: a / [50, 5000],
        ("--env.rescale-actions", "True"),
    ),
    "no bounds": (Box(-np.inf, np.inf, (2,)), lambda a: a * 0.1, ()),
    "a number": (Discrete(3, start=-1), lambda a: np.array([a, 0]) * 0.1, ()),
}


def acting(space, moved):
    """The id of an environment of these actions, which insists on them."""

    def checked(self, action):
        assert space.contains(action), action
        return moved(action)

    return variant("Acting", action_space=space, moved=checked)


def scaled(config, more):
    """The settings, with an option that scales actions if it is asked for."""
    return config.changed({"env.rescale_actions": True}) if more else config


@pytest.mark.parametrize("case", ACTIONS)
def test_actions_are_learned(case):
    space, moved, more = ACTIONS[case]
    assert_learned(scaled(goal.small(acting(space, moved)), more))


@pytest.mark.parametrize("case", ["numbers", "a table of bits", "a box far from 0"])
def test_what_is_learned_acts_in_points_of_the_space(case, tmp_path):
    space, moved, more = ACTIONS[case]
    name = acting(space, moved)
    folder = trained(name, tmp_path / "run", *more)
    env = gymnasium.make(name, disable_env_checker=True)
    observation, _ = env.reset(seed=0)
    policy = rlmaml.load(folder.path).adapt(env)
    for each in (observation, np.stack([observation] * 3)):
        for deterministic in (False, True):
            for action in np.reshape(policy.act(each, deterministic), (-1, *space.shape)):
                assert space.contains(action)


FROM_REWARDS = [name for name in algorithms.TABLE if name != "meta-transfer"]  # not from scratch


@pytest.mark.parametrize("name", FROM_REWARDS)
def test_every_algorithm_learns_such_actions(name):
    config = goal.small(acting(*ACTIONS["numbers"][:2]))
    assert_learned(with_algorithm(replace(config, tasks=5, episodes=5), name))


def assert_learned(config):
    before, after = goal.updated(config)
    assert all(leaf.isfinite().all() for leaf in after)
    assert not all(map(torch.equal, before, after))


OBSERVATIONS = {
    "a number": (Discrete(7, start=1), lambda self: self.time + 1),
    "numbers": (MultiDiscrete([7, 2], start=[1, 0]), lambda self: [self.time + 1, 1]),
    "bits": (MultiBinary(3), lambda self: np.array([1, 0, self.time % 2], np.int8)),
    "whole numbers": (Box(0, 9, (2,), np.uint8), lambda self: np.array([1, 2], np.uint8)),
    "by name": (
        Dict(at=Box(-9, 9, (2,)), time=Discrete(7)),
        lambda self: {"time": self.time, "at": self.x.astype(np.float32)},
    ),
    "in order": (
        Tuple([Box(-9, 9, (1, 2)), MultiBinary(1)]),
        lambda self: (self.x[None].astype(np.float32), np.ones(1, np.int8)),
    ),
    "nested": (
        Dict(a=Tuple([Discrete(3), Dict(b=Box(-9, 9, ()))])),
        lambda self: {"a": (self.time % 3, {"b": np.float32(self.x[0])})},
    ),
}


def ending(self, action):
    """A step that is the last after four, so that there are observations of ends."""
    observation, reward, _, truncated, info = goal.Goal.step(self, action)
    return observation, reward, self.time == 4, truncated, info


@pytest.mark.parametrize("case", OBSERVATIONS)
def test_observations_are_seen_as_gymnasium_flattens_them(case):
    space, seen = OBSERVATIONS[case]
    name = variant("Seen", observation_space=space, seen=seen, step=ending)
    episodes = goal.sampled(goal.small(name))
    env = gymnasium.make(name, disable_env_checker=True)
    points = [env.reset(seed=0)[0]]
    for action in episodes.actions[0, 0, :4].numpy():
        points.append(env.step(action.clip(-0.1, 0.1))[0])
    expected = np.stack([spaces.flatten(space, point) for point in points])
    found = episodes.observations[0, 0, :4], episodes.final_observations[0, 0]
    np.testing.assert_allclose(found[0], expected[:4], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[4], rtol=1e-6)
    assert episodes.mask.sum(-1).eq(4).all()


@pytest.mark.parametrize("case", ["nested"])
def test_what_is_learned_of_composite_observations_acts_on_them(case, tmp_path):
    space, seen = OBSERVATIONS[case]
    name = variant("Seen", observation_space=space, seen=seen)
    folder = trained(name, tmp_path / "run", "--normalize-observations", "True")
    env = gymnasium.make(name, disable_env_checker=True)
    observation, _ = env.reset(seed=0)
    policy = rlmaml.load(folder.path).adapt(env)
    assert env.action_space.contains(policy.act(observation))
    assert len(runs.evaluated(folder, tasks=2, episodes=2, steps=1)["per_task"]) == 2


REFUSED = {
    "whole numbers": (
        {"action_space": Box(0, 4, (2,), np.int32)},
        r"are integers, but a policy's are real numbers.*MultiDiscrete",
    ),
    "bytes": ({"action_space": Box(0, 255, (2,), np.uint8)}, "are integers"),
    "actions by name": (
        {"action_space": Dict(a=Box(-1, 1, (2,))), "moved": lambda self, action: action["a"]},
        r"Actions must be a Box.*got Dict.*TransformAction",
    ),
    "actions in order": (
        {"action_space": Tuple([Box(-1, 1, (2,))]), "moved": lambda self, action: action[0]},
        r"Actions must be a Box.*got Tuple",
    ),
    "a table of actions": (
        {"action_space": Box(-1, 1, (2, 2)), "moved": lambda self, action: action[0]},
        r"act in vectors, but the environment's actions Box.* of shape \(2, 2\).*TransformAction",
    ),
    "images": (
        {
            "observation_space": Box(0, 255, (8, 8, 3), np.uint8),
            "seen": lambda self: np.zeros((8, 8, 3), np.uint8),
        },
        r"a space of shape \(8, 8, 3\).*FlattenObservation",
    ),
    "text": (
        {"observation_space": spaces.Text(4), "seen": lambda self: "here"},
        r"Observations must be a Box.*got Text",
    ),
    "a sequence within": (
        {
            "observation_space": Dict(a=spaces.Sequence(Discrete(3))),
            "seen": lambda self: {"a": (1, 2)},
        },
        r"Observations must be a Box.*got Sequence",
    ),
    "a graph": (
        {
            "observation_space": spaces.Graph(Box(-1, 1, (2,)), None),
            "seen": lambda self: spaces.GraphInstance(np.zeros((1, 2)), None, None),
        },
        r"Observations must be a Box.*got Graph",
    ),
    "one of several": (
        {
            "observation_space": spaces.OneOf([Discrete(2), Box(-1, 1, (2,))]),
            "seen": lambda self: (0, 1),
        },
        r"Observations must be a Box.*got OneOf",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_policy_sees_or_acts_in_is_refused(case):
    members, expected = REFUSED[case]
    said = goal.not_made(goal.small(variant("Odd", **members)))
    assert re.search(expected, said), said


MISSED = {
    "never reached": (
        Box(5, 10, (2,)),
        r"Action 0 ranges from 5 to 10.*--env.rescale-actions True.*RescaleAction\(env, -1, 1\)",
    ),
    "reached in little": (Box(0, 1000, (2,)), r"reach 0.1 % of it.*--env.rescale-actions True"),
}


@pytest.mark.parametrize("case", MISSED)
def test_a_box_that_a_new_policy_misses_leaves_one_line_and_no_folder(case, tmp_path, capsys):
    space, expected = MISSED[case]
    said = refused(capsys, variant("Odd", action_space=space), tmp_path / "run")
    assert re.search(expected, said), said


def test_only_a_box_is_scaled():
    said = goal.not_made(scaled(goal.small(acting(*ACTIONS["numbers"][:2])), True))
    assert "rescale_actions is for a Box, but the actions are MultiDiscrete" in said


def test_a_box_that_is_not_reached_is_still_evaluated():
    config = goal.small(acting(Box(5, 10, (2,)), lambda a: a * 0))
    with contextlib.closing(build_experiment(config, tasks=2)) as made:
        assert made.params


def test_scaled_actions_are_those_of_a_box_that_is_scaled_by_hand():
    wide = acting(Box(5, 10, (2,)), lambda a: (a - 7.5) / 25)
    scaled = goal.sampled(replace(goal.small(wide), env=EnvConfig(wide, rescale_actions=True)))
    plain = goal.sampled(goal.small(acting(Box(-1, 1, (2,)), lambda a: a / 10)))
    torch.testing.assert_close(scaled.rewards, plain.rewards)
    torch.testing.assert_close(scaled.actions, plain.actions, atol=1e-4, rtol=1e-4)
