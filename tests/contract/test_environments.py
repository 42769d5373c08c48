"""What becomes of an environment that somebody brings, with the mistakes that people make.

A row is a variant of `Goal` and what happens: it trains, or is refused with these words before
anything is written. The next case is a row more.
"""

import math
import random
import re
from dataclasses import replace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import rlmaml
from envs.few_shot.base import ExampleEnv, ExampleTasks
from rlmaml import tree
from rlmaml.config import EnvConfig
from rlmaml.errors import EnvironmentFault
from rlmaml.rng import generator
from rlmaml.sampling.faults import DIVERGED
from runners.environments import make_single
from tests.helpers import goal, runs
from tests.helpers.goal import Goal, changed, refused, trained, variant


def with_reset(name, reset, **members):
    return variant(name, reset=reset, **members)


def begun(self):
    """A reset that is right, in one that is not."""
    return Goal.reset(self)


class OldWrapper(gymnasium.Wrapper):
    def step(self, action):
        observation, reward, *_, info = self.env.step(action)
        return observation, reward, False, info


class Wrapped(Goal):
    """Registered through a wrapper that is of before gym 0.26."""


def wrapped():
    gymnasium.registry.pop("Wrapped-v0", None)
    gymnasium.register("Wrapped-v0", entry_point=lambda: OldWrapper(Wrapped()))
    return "Wrapped-v0"


MISTAKES = {
    "old reset": (
        lambda: with_reset("A", lambda self, *, seed=None, options=None: begun(self)[0]),
        r"A-v0 \(A\): `reset` returned an array of shape \(2,\).*return \(observation, info\)",
    ),
    "old step": (
        lambda: changed("A", lambda self, o, r, d, t, i: (o, r, d, i)),
        r"`step` returned a tuple of 4 .*as gym did before 0.26",
    ),
    "old step of a wrapper": (wrapped, r"Wrapped-v0 \(OldWrapper\): `step` returned a tuple of 4"),
    "an observation alone from step": (
        lambda: changed("A", lambda self, *all: all[0]),
        r"`step` returned an array of shape \(2,\)",
    ),
    "no arguments of reset": (
        lambda: with_reset("A", lambda self: begun(self)),
        "`reset` does not take `seed` and `options`",
    ),
    "no options of reset": (
        lambda: with_reset("A", lambda self, *, seed=None: begun(self)),
        "`reset` does not take `seed` and `options`",
    ),
    "a mistake of types in reset": (
        lambda: with_reset("A", lambda self, *, seed=None, options=None: options["task"]),
        "`reset` raised TypeError: 'NoneType'",
    ),
    "an exception in step": (
        lambda: changed("A", lambda self, *all: {}["speed"]),
        "`step` raised KeyError: 'speed'",
    ),
    "an exception in set_task": (
        lambda: variant("A", set_task=lambda self, task: task.goal),
        r"A-v0 \(A\): `set_task` raised AttributeError",
    ),
    "another shape": (
        lambda: variant("A", seen=lambda self: np.zeros(3, np.float32)),
        r"`reset` returned an observation that is an array of shape \(3,\).*space is Box",
    ),
    "a column": (
        lambda: changed("A", lambda self, o, *rest: (o[:, None], *rest)),
        r"`step` returned an observation that is an array of shape \(2, 1\)",
    ),
    "words": (lambda: variant("A", seen=lambda self: "here"), "an observation that is 'here'"),
    "outside a Discrete": (
        lambda: variant("A", seen=lambda self: 3, observation_space=spaces.Discrete(3)),
        r"an observation of 3, which is outside its space Discrete\(3\)",
    ),
    "below a Discrete": (
        lambda: variant("A", seen=lambda self: -1, observation_space=spaces.Discrete(3)),
        "an observation of -1, which is outside its space",
    ),
    "half a number for a Discrete": (
        lambda: variant("A", seen=lambda self: 1.5, observation_space=spaces.Discrete(3)),
        r"an observation that is 1.5, but its space is Discrete\(3\)",
    ),
    "a part missing": (
        lambda: variant(
            "A", seen=lambda self: {}, observation_space=spaces.Dict(x=spaces.Discrete(3))
        ),
        r"without \['x'\], but its space is Dict",
    ),
    "a part of another shape": (
        lambda: variant(
            "A",
            seen=lambda self: (np.zeros(3), 0),
            observation_space=spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Discrete(2)]),
        ),
        r"an observation\[0\] that is an array of shape \(3,\)",
    ),
    "no reward": (
        lambda: changed("A", lambda self, o, r, *rest: (o, None, *rest)),
        "`step` returned None for the reward",
    ),
    "a word for a reward": (
        lambda: changed("A", lambda self, o, r, *rest: (o, "1.0", *rest)),
        "`step` returned '1.0' for the reward",
    ),
    "several rewards": (
        lambda: changed("A", lambda self, o, r, *rest: (o, np.zeros(2), *rest)),
        r"`step` returned an array of shape \(2,\) .* for the reward",
    ),
    "no flag": (
        lambda: changed("A", lambda self, o, r, d, t, i: (o, r, None, t, i)),
        "`step` returned None for terminated",
    ),
    "a word for a flag": (
        lambda: changed("A", lambda self, o, r, d, t, i: (o, r, d, "no", i)),
        "`step` returned 'no' for truncated",
    ),
    "no info": (
        lambda: changed("A", lambda self, *rest: (*rest[:4], None)),
        "`step` returned None for info",
    ),
    "no info of reset": (
        lambda: with_reset("A", lambda self, *, seed=None, options=None: (begun(self)[0], None)),
        "`reset` returned None for info",
    ),
    "words for a diagnostic": (
        lambda: changed(
            "A", lambda self, *rest: (*rest[:4], {"speed": "fast"}), diagnostics=("speed",)
        ),
        r"`step` returned 'fast' for info\['speed'\]",
    ),
    "not a number in the third step": (
        lambda: changed(
            "A", lambda self, o, r, *rest: (o, math.nan if self.time == 3 else r, *rest)
        ),
        r"A-v0 .* returned a reward that is not finite \(nan\) in step 3 of copy 0",
    ),
    "an infinite observation": (
        lambda: variant("A", seen=lambda self: np.full(2, -np.inf)),
        r"an observation that is not finite \(-inf\) in reset of copy 0",
    ),
    "a task that is not a number": (
        lambda: variant("A", sample_tasks=lambda self, n, rng: np.full((n, 2), np.nan)),
        r"(Task 0 of A-v0|task that) is not finite",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_before_a_run_begins(case):
    make, expected = MISTAKES[case]
    said = goal.not_made(goal.small(make()))
    assert re.search(expected, said), said


@pytest.mark.parametrize("case", ["old step", "a task that is not a number"])
def test_a_mistake_leaves_one_line_and_no_folder(case, tmp_path, capsys):
    make, expected = MISTAKES[case]
    assert re.search(expected, refused(capsys, make(), tmp_path / "run"))


def assert_same_episodes(*ids):
    one, other = (
        [leaf.numpy() for leaf in tree.leaves(goal.sampled(goal.small(each)))] for each in ids
    )
    for pair in zip(one, other, strict=True):
        np.testing.assert_array_equal(*pair)


HARMLESS = {
    "a reward of shape (1,)": lambda self, o, r, *rest: (o, np.array([r]), *rest),
    "a reward of shape (1, 1)": lambda self, o, r, *rest: (o, np.array([[r]]), *rest),
    "a reward in a list": lambda self, o, r, *rest: (o, [r], *rest),
    "a reward of torch": lambda self, o, r, *rest: (o, torch.tensor(r), *rest),
    "flags of shape (1,)": lambda self, o, r, d, t, i: (o, r, np.array([False]), np.array([0]), i),
    "a list for an observation": lambda self, o, *rest: (o.tolist(), *rest),
    "double precision": lambda self, o, *rest: (o.astype(np.float64), *rest),
    "diverged of another meaning": lambda self, *rest: (*rest[:4], {"diverged": 0.5}),
    "diverged in words": lambda self, *rest: (*rest[:4], {"diverged": "from the plan"}),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_harmless_counts_as_if_it_were_not_there(case):
    assert_same_episodes(changed("A", HARMLESS[case]), variant("B"))


def test_a_reward_of_one_number_is_one_in_python_and_where_policies_are_shown(tmp_path):
    name = changed("A", lambda self, o, r, *rest: (o, np.array([r]), *rest))
    folder = trained(name, tmp_path / "run")
    policy = rlmaml.load(folder.path).adapt(gymnasium.make(name, disable_env_checker=True))
    assert policy.episodes[0].rewards.shape == (3, 6)
    env = make_single(folder.read_config())
    env.reset(seed=0)
    assert type(env.step(np.zeros(2))[1]) is float


def late(what):
    """Not a number in the fifth step, which is after those that are looked at."""

    def change(self, o, r, d, t, i):
        if self.time == 5 and what == "observation":
            o = o * np.nan
        return o, None if self.time == 5 and what == "reward" else r, d, t, i

    return change


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("more", [{}, {"batch_by": "steps"}, {"env.observe_task": True}])
def test_what_is_not_finite_is_named_where_it_enters(what, more):
    config = goal.small(changed("A", late(what))).changed(more)
    with pytest.raises(EnvironmentFault) as fault:
        goal.sampled(config)
    said = str(fault.value)
    assert f"A-v0 returned a{'n' * (what[0] == 'o')} {what} that is not finite (nan)" in said
    assert "in step 5 of copy 0 (task 0, episode 0)" in said
    assert "parameters" not in said


def test_what_is_not_finite_later_ends_a_run_in_one_line(tmp_path, capsys):
    words = goal.words(changed("A", late("reward")), tmp_path / "run")
    assert "A-v0 returned a reward that is not finite" in runs.refused(capsys, *words)


def test_what_follows_an_end_may_be_anything():
    """Gymnasium's vector environments reset a finished copy; its next episode is not used."""

    def reset(self, *, seed=None, options=None):
        return begun(self)[0] * (np.nan if seed is None else 1), {}

    def end(self, o, r, d, t, i):
        return o, r, self.time == 4, t, i

    assert_same_episodes(changed("A", end, reset=reset), changed("B", end))


def test_only_a_divergence_by_our_name_counts(tmp_path):
    def change(self, o, r, d, t, i):
        blown_up = self.time == 4
        info = {DIVERGED: blown_up, "diverged": 0.5, "return": 3.0, "speed": 2.0}
        return o, math.nan if blown_up else r, d, blown_up, info

    name = changed("A", change, diagnostics=("diverged", "return", "speed"))
    folder = trained(name, tmp_path / "run")
    line = folder.read_metrics()[0]
    assert line["diverged"] == 2 * 3 * 2
    assert line["length/pre"] == line["length/post"] == 3
    task = runs.evaluated(folder, tasks=2, episodes=2, steps=0)["per_task"][0]
    assert (task["diverged"], task["info/diverged"], task["info/return"]) == ([2], [0.5], [3])
    assert task["speed"] == [2]
    assert task["return"][0] < 0


class Batch(VectorEnv):
    """Goals that are simulated together, with a mistake."""

    def __init__(self, num_envs, mistake="", max_episode_steps=None, **_):
        self.num_envs, self.mistake, self.limit = num_envs, mistake, max_episode_steps
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space, self.task_space = Goal.observation_space, Goal.task_space
        self.single_action_space = Goal.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def sample_tasks(self, n, rng, split="train"):
        return rng.uniform(-1, 1, (n, 2))

    def set_tasks(self, tasks):
        self.tasks = tasks if self.mistake != "tasks" else tasks["goal"]

    def reset(self, *, seed=None, options=None):
        self.x, self.time = np.zeros((self.num_envs, 2), np.float32), 0
        if self.mistake == "reset":
            return self.x
        return self.x[: self.num_envs - (self.mistake == "rows")], {}

    def step(self, actions):
        self.x, self.time = self.x + actions, self.time + 1
        rewards = -np.linalg.norm(self.x - self.tasks, axis=1)
        if self.mistake == "mean":
            rewards = rewards.mean()
        never = np.zeros(self.num_envs, bool)
        step = self.x, rewards, never, never | (self.time == self.limit), {}
        return step[:4] if self.mistake == "old" else step


BATCHES = {
    "tasks": "`set_tasks` raised IndexError",
    "reset": r"`reset` returned an array of shape (6, 2) (float32)",
    "rows": r"`reset` returned a batch of observations that is an array of shape (5, 2)",
    "mean": r"`step` returned rewards of shape () (float64) for 6 copies",
    "old": "`step` returned a tuple of 4",
}


def batched():
    gymnasium.registry.pop("Batch-v0", None)
    gymnasium.register("Batch-v0", entry_point=Goal, vector_entry_point=Batch, max_episode_steps=4)
    return "Batch-v0"


@pytest.mark.parametrize("mistake", BATCHES)
def test_a_batched_version_is_looked_at_too(mistake):
    env = EnvConfig(batched(), {"mistake": mistake})
    said = goal.not_made(replace(goal.small(env.id), env=env))
    assert BATCHES[mistake] in said
    assert "Batch-v0 (the batched version)" in said


def limited():
    gymnasium.registry.pop("Inside-v0", None)
    gymnasium.register(
        "Inside-v0",
        entry_point=lambda: gymnasium.wrappers.TimeLimit(Goal(), 3),
        max_episode_steps=100,
    )
    return "Inside-v0"


LIMITS = {
    "shorter than the horizon": (lambda: variant("A", limit=4), 6, 4),
    "longer than the horizon": (lambda: variant("A", limit=9), 6, 6),
    "none": (lambda: variant("A"), 6, 6),
    "inside the entry point": (limited, 6, 3),
    "of a batched version": (batched, 6, 4),
    "of our own ids, which have Gymnasium's defaults": (lambda: "rlmaml/TabularMDP-v0", 15, 15),
}


@pytest.mark.parametrize("case", LIMITS)
def test_a_time_limit_of_ones_own_is_never_lengthened(case):
    make, horizon, expected = LIMITS[case]
    config = goal.small(make(), horizon)
    assert goal.sampled(config).mask.sum(-1).max() == expected
    env = make_single(config)
    env.reset(seed=0)
    steps = 1
    while not env.step(env.action_space.sample())[3]:
        steps += 1
    assert steps == expected


class Broken(ExampleTasks):
    """y = task · x, but for one value that is not finite, of episodes beyond the first `whole`."""

    space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float64)
    default = np.array([1.0])
    inputs = outputs = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def __init__(self, where, whole):
        super().__init__()
        self.where, self.whole = where, whole

    def sample(self, n, rng, split="train"):
        return rng.uniform(-1, 1, (n, 1))

    def draw(self, tasks, count, rng):
        x = rng.uniform(-1, 1, (len(tasks), count, 1)).astype(np.float32)
        y = (x * tasks[:, None]).astype(np.float32)
        self.whole -= 1
        if self.whole < 0:
            (x if self.where == "inputs" else y)[-1, 0] = np.nan
        return x, y


@pytest.mark.parametrize("where", ["inputs", "targets"])
@pytest.mark.parametrize("whole", [0, 1])
def test_examples_that_are_not_finite_are_named(where, whole, tmp_path, capsys):
    gymnasium.registry.pop("Broken-v0", None)
    gymnasium.register(
        "Broken-v0", entry_point=lambda: ExampleEnv(Broken(where, whole)), max_episode_steps=1
    )
    words = ("train", "sinusoid", "--env.id", "Broken-v0", "--env.kwargs", "{}", "--tasks", "3")
    said = runs.refused(capsys, *words, "--iterations", 2, "--out", tmp_path / "run")
    found = f"{where} that are not finite (nan), in example 0 of task"
    assert f"Broken drew {found} 0" in said or f"Broken drew support {found} 2" in said
    assert (tmp_path / "run").exists() == bool(whole)
    assert "step size" not in said


class Drawing(Goal):
    """Draws from every generator there is, in reset and in step."""

    drawn: ClassVar = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.drawn.append((random.random(), np.random.random()))  # noqa: NPY002
        return self.seen(), {}


def test_looking_at_an_environment_leaves_no_trace():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    env = rlmaml.vectorize(Drawing, 2)
    assert Drawing.drawn, "it was not looked at"
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    one, other = (each.unwrapped.np_random.random() for each in env.unwrapped.envs)
    assert one != other  # no seed is left
    np.testing.assert_array_equal(
        env.sample_tasks(2, generator(0)), env.sample_tasks(2, generator(0))
    )
    env.close()
