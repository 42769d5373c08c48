"""Tasks that people bring: a row says what, and whether it trains or with which words it is
refused. What is refused leaves no folder."""

import contextlib
import dataclasses
import json
import random
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rlmaml
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.tasks import attribute
from runners import environments
from runners.rendering.adaptation import Adaptation
from runners.run_dir import RunDir
from tests.helpers.points import Point, Tasked, registered, training
from tests.helpers.runs import refused, run

pytestmark = pytest.mark.slow


class Arm(NamedTuple):
    name: str
    data: bytes


@dataclasses.dataclass
class Place:
    x: float


class Opaque:
    pass


BOX, GOALS = spaces.Box(-1, 1, (2,)), spaces.Dict(goal=spaces.Box(-1, 1, (2,)))
PAIRS = spaces.Tuple((spaces.Discrete(3, start=1), GOALS))

SAMPLED = [  # task_space, sample_tasks, what reaches set_task
    (BOX, None, np.ndarray),
    (spaces.Discrete(3), None, np.integer),
    (spaces.MultiDiscrete([3, 4]), None, np.ndarray),
    (spaces.MultiBinary(3), None, np.ndarray),
    (GOALS, None, dict),
    (PAIRS, None, tuple),
    (BOX, lambda n, rng: rng.uniform(-1, 1, (n, 2)), np.ndarray),
    (BOX, lambda n, rng: [[0.1, 0.2]] * n, np.ndarray),
    (spaces.Box(-1, 1, (1,)), lambda n, rng: rng.uniform(-1, 1, n), np.ndarray),  # [n], flat
    (BOX, lambda n: [{"goal": g} for g in np.random.uniform(-1, 1, (n, 2))], dict),  # noqa: NPY002
    (None, lambda num_tasks: [random.uniform(-1, 1) for _ in range(num_tasks)], float),
    (None, lambda n, with_replacement=True: [Place(float(x)) for x in torch.rand(n)], Place),
    (None, lambda n, *, rng: [Arm("reach", rng.bytes(3)) for _ in range(n)], Arm),
    (None, lambda n, split, generator: [split] * n, str),
    (None, lambda n: (GOALS.sample() for _ in range(n)), dict),
    (None, lambda n: [Opaque()] * n, Opaque),
    (None, lambda n, seed=None: np.random.RandomState(seed).rand(n).tolist(), float),
    (None, lambda n, random_state: np.random.RandomState(random_state).rand(n).tolist(), float),
    (None, lambda n, exclude=None: [b"" if exclude is None else exclude.name] * n, bytes),
    (None, lambda n, np_random=None: [b"\x80"] * n if np_random else None, bytes),
    (PAIRS, lambda n, rng: [(2, {"goal": np.zeros(2)})] * n, tuple),
    (spaces.Tuple((BOX, BOX)), lambda n, *rest: [(np.zeros(2), np.ones(2))] * n, tuple),
]


def doubled(task):
    """A task that is written to, as a careless `set_task` does."""
    if isinstance(task, dict):
        return doubled(task.pop("goal"))
    if isinstance(task, tuple):
        return doubled(task[-1])
    task *= 2
    return task


@pytest.mark.parametrize("space", [BOX, GOALS, PAIRS, spaces.Tuple((BOX, BOX))])
def test_a_task_that_is_written_to_is_set_whole_every_time(space):
    class Careless(Point):
        task_space = space

        def set_task(self, task):
            self.goal = doubled(task)

    env = rlmaml.vectorize(Careless, 4)
    drawn = np.repeat(env.sample_tasks(2, generator(0)), 2, axis=0)
    goals = []
    for _ in range(2):
        env.set_tasks(drawn)
        goals += [each.unwrapped.goal.tolist() for each in env.unwrapped.envs]
    assert goals[0] == goals[1] == goals[4]
    assert goals[:4] == goals[4:]


@pytest.mark.parametrize(("space", "sample", "kind"), SAMPLED)
def test_tasks_reach_the_environment_as_they_were_drawn(space, sample, kind):
    class Brought(Point):
        task_space = space

        def set_task(self, task):
            self.got = task

    if sample is not None:
        Brought.sample_tasks = staticmethod(sample)
    env = rlmaml.vectorize(Brought, 3)
    drawn = env.sample_tasks(3, generator(0), split="test")
    assert len(np.repeat(drawn, 2, axis=0)) == 6
    env.set_tasks(drawn)
    got = env.unwrapped.get_attr("got")
    assert all(isinstance(task, kind) for task in got)
    if sample is None:
        assert all(space.contains(task) for task in got)
    elif space is not None and space.shape is not None and kind is np.ndarray:
        assert [task.shape for task in got] == [space.shape] * 3


OWN_GENERATORS = [
    lambda self, n: list(np.random.uniform(size=n)),  # noqa: NPY002
    lambda self, n: [random.random() for _ in range(n)],
    lambda self, n: torch.rand(n).tolist(),
    lambda self, n: list(self.np_random.uniform(size=n)),
    lambda self, n: list(self.rng.uniform(size=n)),
    lambda self, n: [float(self.action_space.sample()[0]) for _ in range(n)],
]


@pytest.mark.parametrize("sample", OWN_GENERATORS)
def test_a_sampler_without_a_generator_draws_what_the_seed_says_and_nothing_else(sample):
    class Older(Point):
        task_space, sample_tasks = None, sample

        def __init__(self):
            super().__init__()
            self.rng = np.random.RandomState()

    env = Older()
    seeded = rlmaml.vectorize(lambda: env, 1).sample_tasks
    first, other = (list(seeded(4, generator(seed))) for seed in (0, 1))
    before = [np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()]  # noqa: NPY002
    kept = env.rng, env.__dict__.get("_np_random")
    assert list(seeded(4, generator(0))) == first != other
    assert before == [
        *(np.random.get_state()[1].tolist(), random.getstate()),  # noqa: NPY002
        torch.get_rng_state().tolist(),
    ]
    assert kept == (env.rng, env.__dict__.get("_np_random"))


def raising(n, rng):
    raise KeyError("benchmark")


REFUSED = [  # task_space, sample_tasks, words
    (spaces.Box(-np.inf, np.inf, (2,)), None, "unbounded Box"),
    (spaces.Dict(goal=spaces.Box(0, np.inf, (2,))), None, "unbounded Box"),
    (spaces.Text(3), None, "give the environment `sample_tasks"),
    (BOX, lambda n, rng: np.zeros((3, 2)), "was asked for 2 tasks and returned 3"),
    (BOX, lambda n, rng: np.zeros((1, 2)), "was asked for 2 tasks and returned 1"),
    (BOX, lambda n, rng: np.zeros(n), "tasks of shape (), but task_space"),
    (BOX, lambda n, rng: np.zeros((n, 3)), "tasks of shape (3,), but task_space"),
    (BOX, lambda n, rng: [np.zeros(2), np.zeros(1)][:n], "tasks of shape (1,) and (2,)"),
    (BOX, lambda n, rng: np.full((n, 2), np.nan), "not finite: [NaN, NaN], number 0 of 2"),
    (None, lambda n, rng: [{"goal": 0.0}, {"goal": np.inf}], "not finite"),
    (BOX, lambda n, rng: {"goal": np.zeros((n, 2))}, "a dict: it must return an array"),
    (BOX, lambda n, rng: None, "returned None, a NoneType"),
    (BOX, lambda: np.zeros((2, 2)), "takes no argument"),
    (BOX, raising, "`sample_tasks` of the environment Brought-v0 raised KeyError: 'benchmark'"),
    (GOALS, None, "`set_task` raised TypeError"),  # takes an array
    (None, None, "has no `task_space`"),
]


@pytest.mark.parametrize(("space", "sample", "words"), REFUSED)
def test_what_is_no_task_is_refused_before_there_is_a_folder(
    space, sample, words, monkeypatch, capsys, tmp_path
):
    class Brought(Point):
        task_space = space

    if sample is not None:
        Brought.sample_tasks = staticmethod(sample)
    name = registered(monkeypatch, Brought)
    assert words in refused(capsys, *training(name, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


class Legacy(Point):
    task_space = None

    def sample_tasks(self, num_tasks):
        return [{"goal": g} for g in np.random.uniform(-1, 1, (num_tasks, 2))]  # noqa: NPY002

    def set_task(self, task):
        self.goal = task["goal"]


class Paired(Point):
    task_space = PAIRS

    def set_task(self, task):
        assert isinstance(task, tuple)
        self.goal = task[0] * np.asarray(task[1]["goal"])


class Switches(Point):
    task_space = spaces.MultiBinary(2)


class Reset(Point):
    task_space, set_task = None, None

    def sample_tasks(self, n, rng):
        return [Arm("<b>", rng.bytes(80)) for _ in range(n)]

    def reset_task(self, task):
        self.goal = np.frombuffer(task.data, np.uint8)[:2] / 255


TRAINED = [  # environment, numbers of --task, what a caption calls it
    (Paired, (2, 0.5, 0.25), "task [2, {goal: [0.5, 0.25]}]"),
    (Switches, (0, 1), "task [0 1]"),
    (Tasked, (0.5,), "swing to 0.5"),
    (Reset, None, "task {name: <b>, data: <80 bytes, SHA-256"),
]


@pytest.mark.parametrize(("kind", "numbers", "label"), TRAINED)
def test_it_trains_and_is_adapted_to(kind, numbers, label, monkeypatch, tmp_path):
    run(*training(registered(monkeypatch, kind), tmp_path))
    folder = RunDir(tmp_path)
    with contextlib.closing(environments.make_single(folder.read_config())) as env:
        if numbers is None:
            with pytest.raises(ConfigError, match="the environment has none"):
                environments.task_points(attribute(env, "task_space"), (1,))
            task = env.unwrapped.sample_tasks(1, generator(0))[0]
        else:
            (task,) = environments.task_points(attribute(env, "task_space"), numbers)
        assert environments.task_label(env, task).startswith(label)
    policy = Adaptation(folder, None, 2, 0).policy(task, 1)
    assert policy.episodes[0].rewards.shape == (2, 4)


def test_every_command_takes_tasks_that_are_no_numbers(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "run"
    run(*training(registered(monkeypatch, Paired), folder))
    run("evaluate", folder, "--against", "oracle", "--tasks", 2, "--episodes", 2, "--quiet")
    evaluation = folder / "evaluation.json"
    task = json.loads(evaluation.read_text())["per_task"][0]["task"]
    assert PAIRS.contains((task[0], {"goal": np.float32(task[1]["goal"])}))
    assert '"goal"' in (folder / "evaluation.csv").read_text().replace('""', '"')
    written = evaluation.stat().st_mtime_ns
    run("report", folder)
    assert evaluation.stat().st_mtime_ns == written  # it is of these tasks
    small = ("--episodes", 2, "--size", 32, "--quiet", "--out", tmp_path / "video.gif")
    capsys.readouterr()
    run("render", folder, "--task", 2, 0.5, 0.25, *small)
    assert "task [2, {goal: [0.5, 0.25]}]" in capsys.readouterr().out
    run("export", folder, "--task", 2, 0.5, 0.25)
    assert (folder / "exports" / "task-2_0.5_0.25-steps-1.zip").exists()
    assert "3 numbers for each" in refused(capsys, "export", folder, "--task", 1)
    assert "is no point of" in refused(capsys, "export", folder, "--task", 9, 0, 0)


def test_what_needs_a_task_space_is_refused_without_one(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "run"
    run(*training(registered(monkeypatch, Legacy), folder))
    assert "has none" in refused(capsys, "evaluate", folder, "--against", "oracle")
    assert "has none" in refused(capsys, "export", folder, "--task", 1)
    assert "has none" in refused(capsys, "render", folder, "--task", 1)
    assert not (folder / "baselines").exists()


def test_a_wrapper_around_a_wrapper_has_the_tasks():
    env = rlmaml.vectorize(lambda: gymnasium.wrappers.TimeLimit(Tasked(), 5), 2)
    env.set_tasks(np.array([[0.5], [-0.5]]))
    assert env.unwrapped.get_attr("goal") == (0.5, -0.5)
    assert env.diagnostics == ("angle",)
