"""Processes and threads in which environments are made, and what becomes of those that are not."""

import contextlib
import multiprocessing
import os
import signal
import threading
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

import rlmaml
from tests.helpers.points import Point, registered, training
from tests.helpers.runs import refused, run

MADE = []


class Counted(Point):
    """Notes who is made and closed; the seventh cannot be made."""

    def __init__(self):
        super().__init__()
        if len(MADE) == 6:
            raise RuntimeError("no license left")
        MADE.append(self)
        self.closed = 0

    def close(self):
        self.closed += 1


def test_whoever_is_made_is_closed():
    MADE.clear()
    rlmaml.vectorize(Counted, 3).close()
    assert [env.closed for env in MADE] == [1] * 4  # one says what the tasks are
    MADE.clear()
    with pytest.raises(RuntimeError, match="no license left"):
        rlmaml.vectorize(Counted, 20)
    assert [env.closed for env in MADE] == [1] * 6


class ByPosition(Point):
    """Keeps where it is, or what its task is, in its class: one world for all copies."""

    where: ClassVar = {}

    @property
    def x(self):
        return self.where["x"]

    @x.setter
    def x(self, value):
        self.where["x"] = value


class ByTask(Point):
    def set_task(self, task):
        type(self).goal = np.asarray(task, float)


class ByNoise(Point):
    """Seeds and draws from NumPy's own generator, as many do; a world of its own for all that."""

    def reset(self, *, seed=None, options=None):
        np.random.seed(seed)  # noqa: NPY002
        return super().reset(seed=seed)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + np.random.normal(), *rest  # noqa: NPY002


@pytest.mark.parametrize("kind", [ByPosition, ByTask])
def test_copies_that_share_a_world_are_refused(kind, monkeypatch, tmp_path, capsys):
    said = refused(capsys, *training(registered(monkeypatch, kind), tmp_path / "run"))
    assert "share one world" in said
    assert "--env.vectorization async" in said
    assert not (tmp_path / "run").exists()


def test_a_generator_in_common_is_no_world():
    rlmaml.vectorize(ByNoise, 2).close()


def test_environments_are_made_in_a_thread_and_leave_ctrl_c_alone():
    made = []
    thread = threading.Thread(target=lambda: made.append(rlmaml.vectorize(Point, 2)))
    thread.start()
    thread.join()
    made[0].close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _handler(found):
    rlmaml.vectorize(Point, 2).close()
    found.put(signal.getsignal(signal.SIGINT) is signal.default_int_handler)


@pytest.mark.slow
def test_a_process_of_somebodys_own_is_no_worker():
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    child = context.Process(target=_handler, args=(found,))
    child.start()
    assert found.get(timeout=60)
    child.join()


class Handled(Point):
    """Its task is how its process takes Ctrl-C."""

    @property
    def task(self):
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_know_what_was_registered_here_and_ignore_ctrl_c(start, monkeypatch):
    """Such as are no forks know nothing of this process: forkserver, spawn."""
    before = multiprocessing.get_start_method()
    registered(monkeypatch, Handled)
    lock = threading.Lock()
    gymnasium.register("Unpicklable-v0", entry_point=lambda: lock)
    multiprocessing.set_start_method(start, force=True)
    try:
        with contextlib.closing(
            rlmaml.vectorize(lambda: gymnasium.make("Handled-v0"), 1, asynchronous=True)
        ) as env:
            env.set_tasks(np.zeros((1, 2)))
            env.reset(seed=0)
            assert env.unwrapped.get_attr("task") == (True,)
    finally:
        multiprocessing.set_start_method(before, force=True)
        del gymnasium.registry["Unpicklable-v0"]


@pytest.mark.slow
def test_a_worker_says_why_it_cannot_make_its_environment():
    process = os.getpid()

    class Licensed(Point):
        def __init__(self):
            super().__init__()
            if os.getpid() != process:
                raise RuntimeError("no license left")

    with pytest.raises(OSError, match=r"worker process 0 .*: RuntimeError: no license left"):
        rlmaml.vectorize(Licensed, 2, asynchronous=True)
    assert not multiprocessing.active_children()


class Plain(SyncVectorEnv):
    def __init__(self, num_envs, **options):
        super().__init__([Point] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


class Strict(Plain):
    def __init__(self, num_envs):
        super().__init__(num_envs)


class WithTasks(Plain):
    task_space = Point.task_space

    def set_tasks(self, tasks):
        for env, task in zip(self.envs, tasks, strict=True):
            env.set_task(task)


OWN = [  # a vector environment of one's own, and what it lacks
    (Plain, "has no set_tasks: pass --env.vectorization sync"),
    (Strict, "unexpected keyword argument 'max_episode_steps'; pass --env.vectorization sync"),
    (WithTasks, None),
    (lambda **options: VectorWrapper(WithTasks(**options)), None),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "words"), OWN)
def test_a_vector_environment_of_ones_own(kind, words, monkeypatch, capsys, tmp_path):
    name = registered(monkeypatch, Point, vector_entry_point=kind)
    if words is None:
        run(*training(name, tmp_path / "own"))
    else:
        assert words in refused(capsys, *training(name, tmp_path / "run"))
        assert not (tmp_path / "run").exists()
        run(*training(name, tmp_path / "run", "--env.vectorization", "sync"))
