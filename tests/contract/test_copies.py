"""Environments that `adapt` is handed: a row says how its episodes are played.

However that is, they are those of environments that were made one by one.
"""

import contextlib
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

import rlmaml
from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.sampling.fixed_task import with_fixed_task
from tests.helpers.points import (
    Handle,
    Misnamed,
    Point,
    Rebuilt,
    Told,
    Uncopyable,
    registered,
    training,
    with_goal,
)
from tests.helpers.runs import run


class Limited(gymnasium.wrappers.TimeLimit):
    def __init__(self):
        super().__init__(Told(), 3)

    def set_task(self, task):
        self.unwrapped.set_task(task)


class Unseeded(Told):
    """Repeats itself under no seed."""

    def step(self, action):
        self.np_random.bit_generator.state = np.random.PCG64().state
        return super().step(action)


class Counting(Told):
    """What one episode is depends on how many there were."""

    count = 0

    def reset(self, **options):
        self.count += 1
        observation, info = super().reset(**options)
        return observation + self.count, info


KINDS = [  # environment, in turns or in copies, whether a seed says all of it
    (Told, False, True),
    (Limited, False, True),
    (Point, True, True),  # does not tell its task
    (Rebuilt, True, True),
    (Handle, True, True),
    (Uncopyable, True, True),
    (Misnamed, True, True),
    (Unseeded, True, False),
    (Counting, True, False),
]


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        run(*training(registered(patch, Point), folder, "--horizon", 8, "--batch-by", "steps"))
    return rlmaml.load(folder)


def assert_same(one, other):
    for name in one.params:
        assert torch.equal(one.params[name], other.params[name])
    for first, second in zip(one.episodes, other.episodes, strict=True):
        assert torch.equal(first.mask, second.mask)
        assert torch.equal(first.rewards, second.rewards)
        assert torch.equal(first.log_probs, second.log_probs)
        seen = tree.map(lambda x, mask=first.mask: x * mask[..., None], first.observations)
        assert torch.equal(seen, second.observations * second.mask[..., None])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "in_turns", "repeats"), KINDS)
def test_one_environment_plays_as_those_do_that_were_made_one_by_one(
    learner, kind, in_turns, repeats
):
    goal = (0.1, -0.2)  # near: episodes end early, and more are played
    with with_fixed_task(with_goal(kind, *goal), 3) as places:
        assert places.plays_one == in_turns
    adapted = learner.adapt(with_goal(kind, *goal), episodes=3, steps=2)
    far = learner.adapt(with_goal(kind, 50.0, 50.0), episodes=3, steps=1)
    assert far.episodes[0].rewards.min() < -60 < adapted.episodes[0].rewards.min()
    if repeats:
        assert_same(adapted, learner.adapt(lambda: with_goal(kind, *goal), episodes=3, steps=2))
        makers = [lambda: with_goal(kind, *goal)] * 3
        one_by_one = SyncVectorEnv(makers, autoreset_mode="SameStep")
        assert_same(adapted, learner.adapt(one_by_one, steps=2))


def test_a_copy_is_not_the_environment():
    env = with_goal(Told, 0.3, 0.4)
    before = env.reset(seed=5)[0]
    with with_fixed_task(env, 2) as places:
        places.reset(seed=[0, 1])
        places.step(np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(env.x.astype(np.float32), before)


def test_functions_that_make_no_environment_of_the_task_are_refused(learner):
    rng, world = np.random.default_rng(0), Handle()
    for make, error, words in (
        (lambda: 3, TypeError, "it made a int"),
        (lambda: with_goal(Told, *rng.uniform(size=2)), ConfigError, "have several tasks"),
    ):
        with pytest.raises(error, match=words):
            learner.adapt(make, episodes=2)

    def sharing():
        env = Handle()
        env.world = world.world
        return env

    for make in (lambda: world, sharing):  # but one world is one world
        with with_fixed_task(make, 2) as places:
            assert places.plays_one


@pytest.mark.slow
def test_a_vector_environment_is_asked_for_its_task_and_outlives_the_question(learner):
    for kinds, several in ((3 * [Point], False), ([Told, Told], True)):
        makers = [partial(with_goal, kind, 0.1 * i, 0) for i, kind in enumerate(kinds)]
        with contextlib.closing(AsyncVectorEnv(makers, autoreset_mode="SameStep")) as env:
            if several:
                with pytest.raises(ConfigError, match="have several tasks"):
                    learner.adapt(env, steps=1)
            else:
                learner.adapt(env, steps=1)
            assert all(process.is_alive() for process in env.processes)


class Batch(VectorEnv):
    """Copies that are simulated together, as somebody writes them for `adapt` alone."""

    def __init__(self, mode=AutoresetMode.DISABLED, tasks=None):
        self.num_envs, self.metadata, self.tasks = 3, {"autoreset_mode": mode}, tasks
        self.single_observation_space = Point.observation_space
        self.single_action_space = Point.action_space
        self.observation_space = batch_space(Point.observation_space, 3)
        self.action_space = batch_space(Point.action_space, 3)

    def reset(self, *, seed=None, options=None):
        self.x, self.time = np.zeros((3, 2), np.float32), 0
        return self.x, {}

    def step(self, actions):
        self.x, self.time = self.x + actions, self.time + 1
        return self.x, -np.ones(3), np.full(3, self.time == 3), np.zeros(3, bool), {}


class OldBatch(Batch):
    def reset(self, *, seed=None, options=None):
        return super().reset()[0]


class OldSteps(Batch):
    def step(self, actions):
        return super().step(actions)[:4]


class OldPoint(Point):
    def step(self, action):
        return super().step(action)[:4]


class Longer(Point):
    def step(self, action):
        return np.zeros(3, np.float32), *super().step(action)[1:]


MISTAKES = [
    (OldPoint, "OldPoint: `step` returned a tuple of 4"),
    (Longer, r"Longer: `step` returned an observation that is an array of shape \(3,\)"),
    (lambda: with_goal(OldPoint, 0, 0), "OldPoint: `step` returned a tuple of 4"),
    (OldBatch(), r"`reset` of OldBatch gave observations of shape \(2,\)"),
    (OldSteps(), r"`step` of OldSteps gave \[\(3,\), \(3,\)\]"),
    (Batch(AutoresetMode.SAME_STEP), "final_obs"),
    (Batch(tasks=[0, 1, 0]), "have several tasks"),
]


@pytest.mark.parametrize(("env", "words"), MISTAKES)
def test_a_mistake_of_an_environment_is_named_where_it_is_adapted_to(learner, env, words):
    with pytest.raises(ConfigError, match=words):
        learner.adapt(env() if isinstance(env, type) else env, steps=1)


@pytest.mark.parametrize("more", [{}, {"mode": "Disabled"}, {"tasks": list(range(40))}])
def test_a_vector_environment_of_ones_own_is_adapted_to(learner, more):
    adapted = learner.adapt(Batch(**more), steps=1)
    assert set(adapted.episodes[0].mask.sum(-1).tolist()) == {3.0}  # filled up by more episodes
