"""One task played in several episodes: in copies of an environment where they are sure to be that,
and otherwise one episode after another in the environment itself.

A copy need not be one. Gymnasium's MuJoCo and Box2D environments copy by building themselves anew,
without the task that was set; one that holds a simulator's handle shares its world with its copies.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import EzPickle
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.env_check import PlainNumbers, check_env, check_vector_env, plain
from rlmaml.sampling.reports import SyncCopies
from rlmaml.sampling.task_sampler import TaskSampler
from rlmaml.sampling.task_values import same
from rlmaml.sampling.tasks import current_task, diagnostics, layers, task_setter
from rlmaml.sampling.vector_env import Info, StepResult
from rlmaml.sampling.worlds import independent


class FixedTask(VectorWrapper):
    """Copies of one environment that keep the task they have.

    Attributes:
        diagnostics: names of what they report of a step.
        plays_one: whether they are one environment in truth, which plays one episode at a time.
    """

    def __init__(self, env: VectorEnv, diagnostics: Sequence[str]) -> None:
        super().__init__(env)
        self.diagnostics, self.plays_one = tuple(diagnostics), isinstance(env, OneAfterAnother)

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Do nothing: the task is the environment's own."""


class OneAfterAnother(VectorEnv):
    """One environment in the place of `count` copies, of which one at a time has its episode.

    The mask of `reset` says whose turn it is; the first one's without a mask. The others see what
    it sees, earn nothing and do not end.
    """

    def __init__(self, env: gymnasium.Env, count: int) -> None:
        self.env, self.num_envs = env, count
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(env.observation_space, count)
        self.action_space = batch_space(env.action_space, count)
        self._turn = 0

    def reset(self, *, seed: Any = None, options: Info | None = None) -> tuple[Any, Info]:
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        self._turn = 0 if mask is None else int(np.argmax(mask))
        seeds = [None] * self.num_envs if seed is None else seed
        observation, info = self.env.reset(seed=seeds[self._turn], options=options or None)
        return self._everywhere(observation), self._add_info({}, info, self._turn)

    def step(self, actions: Any) -> StepResult:
        action = list(iterate(self.action_space, actions))[self._turn]
        observation, reward, terminated, truncated, info = self.env.step(action)
        rewards, ended = np.zeros(self.num_envs), np.zeros((2, self.num_envs), bool)
        rewards[self._turn] = plain(reward)
        ended[:, self._turn] = plain(terminated), plain(truncated)
        report = self._add_info({}, info, self._turn)
        return self._everywhere(observation), rewards, ended[0], ended[1], report

    def _everywhere(self, observation: Any) -> Any:
        space, count = self.single_observation_space, self.num_envs
        return concatenate(space, [observation] * count, create_empty_array(space, n=count))


@contextlib.contextmanager
def with_fixed_task(
    env: gymnasium.Env | VectorEnv | Callable[[], gymnasium.Env], count: int
) -> Iterator[FixedTask]:
    """An environment's task in `count` places, or in those of a vector environment.

    Args:
        env: an environment; or a vector environment; or a function that makes an environment, with
            its task, at each call.
        count: B.

    Raises:
        TypeError: a function that makes something else.
        ConfigError: copies, or environments that a function makes, with several tasks.
    """
    if isinstance(env, VectorEnv):
        _check_one_task(_tasks(env), env)
        with _mistakes_named(partial(check_vector_env, env)):
            yield FixedTask(env, diagnostics(env))
        return
    made: list[gymnasium.Env] = []  # to be closed with this
    try:
        if not isinstance(env, gymnasium.Env):
            env, made = _made(env, count)
            copies = _if_independent(made, count)
        else:
            copies = made = _copies(env, count)
        names = diagnostics(env)
        if copies:
            makers = [lambda each=each: PlainNumbers(each) for each in copies]
            vector = SyncCopies(makers, autoreset_mode=AutoresetMode.SAME_STEP)
            with _mistakes_named(partial(check_env, copies[0])):
                yield FixedTask(vector, names)
        else:
            with _without_window(env), _mistakes_named(partial(check_env, env)):
                yield FixedTask(OneAfterAnother(env, count), names)
    finally:
        for each in made:
            each.close()


@contextlib.contextmanager
def _mistakes_named(check: Callable[[], None]) -> Iterator[None]:
    """Name the method at fault where an environment's mistake ends in Gymnasium or in here."""
    try:
        yield
    except (ConfigError, FloatingPointError):
        raise
    except Exception:
        check()
        raise


def _tasks(env: VectorEnv) -> list[Any]:
    """The tasks of a vector environment's copies; empty where they do not say."""
    tasks = getattr(env, "tasks", None)
    if isinstance(tasks, list | tuple | np.ndarray) and len(tasks) == env.num_envs:
        return list(tasks)
    below = env.unwrapped
    if isinstance(below, SyncVectorEnv | AsyncVectorEnv):
        for name in ("task", "get_task"):
            # A worker process that is asked for what it has not ends.
            if all(below.call("has_wrapper_attr", name)):
                return list(below.call(name))
    return []


def _check_one_task(tasks: Sequence[Any], source: object) -> None:
    if not all(same(task, tasks[0]) for task in tasks):
        raise ConfigError(
            f"The copies of {source} have several tasks: give all of them the one to adapt to."
        )


def _made(
    make: Callable[[], gymnasium.Env], count: int
) -> tuple[gymnasium.Env, list[gymnasium.Env]]:
    """Environments that a function makes: `count`, and where that is several two to be tried out.

    Returns:
        The first, and all; or none more where the function has but one to give.
    """
    made: list[gymnasium.Env] = []
    try:
        for _ in range(count + 2 * (count > 1)):
            each = make()
            if not isinstance(each, gymnasium.Env):
                raise TypeError(
                    f"{make} is to make a gymnasium.Env with its task set; it made a "
                    f"{type(each).__name__}."
                )
            if any(each is other for other in made):
                made = []
                return each, made
            made.append(each)
        _check_one_task([current_task(each) for each in made], make)
    except BaseException:
        for each in made:
            each.close()
        raise
    return made[0], made


def _if_independent(envs: list[gymnasium.Env], count: int) -> list[gymnasium.Env]:
    """The first `count` of them if those after them are worlds of their own; else none."""
    if len(envs) == count == 1:
        return envs
    return envs[:count] if len(envs) > count and independent(*envs[count:]) else []


def _copies(env: gymnasium.Env, count: int) -> list[gymnasium.Env]:
    """Copies that are sure to have the task, and worlds of their own; none if it is not sure."""
    task, copies = current_task(env), []
    if task is None or any(isinstance(layer, EzPickle) for layer in layers(env)):
        return []
    try:
        tried = [_copy(env, task) for _ in range(2)]
        if _tells_its_task(tried[0], task) and independent(*tried):
            copies = [_copy(env, task) for _ in range(count)]
    except Exception:  # whatever a simulator raises
        return []  # not closed: what they hold may be the environment's
    return copies


def _copy(env: gymnasium.Env, task: Any) -> gymnasium.Env:
    """A copy in which the task was set.

    Raises:
        ValueError: it has another.
    """
    made = copy.deepcopy(env)
    if hasattr(made.unwrapped, "render_mode"):
        made.unwrapped.render_mode = None  # one window, or none, is what was asked for
    _set_task(made, task)
    return made


def _set_task(env: gymnasium.Env, task: Any) -> None:
    setter = task_setter(env)
    if setter is None:
        raise ValueError(f"{env} has no set_task")
    setter(copy.deepcopy(task))
    if not same(current_task(env), task):
        raise ValueError(f"{env} does not tell the task that was set")


def _tells_its_task(env: gymnasium.Env, task: Any) -> bool:
    """True if what the environment calls its task is what `set_task` sets."""
    for other in TaskSampler(env)(3, generator(0)):
        if not same(other, task):
            _set_task(env, other)
            _set_task(env, task)
            return True
    return False


@contextlib.contextmanager
def _without_window(env: gymnasium.Env) -> Iterator[None]:
    """Keep an environment from drawing every step on the screen."""
    inner = env.unwrapped
    if getattr(inner, "render_mode", None) != "human":
        yield
        return
    inner.render_mode = None
    try:
        yield
    finally:
        inner.render_mode = "human"
