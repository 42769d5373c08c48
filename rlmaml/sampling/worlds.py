"""Whether environments are worlds of their own: steps of one leave no trace in another."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import gymnasium

from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.env_check import generators_kept
from rlmaml.sampling.faults import env_name
from rlmaml.sampling.task_sampler import TaskSampler, instance_generators_kept
from rlmaml.sampling.task_values import same

_TRIED = 8
"""Steps of one copy in which another is looked at for traces of them."""


def independent(one: gymnasium.Env, other: gymnasium.Env) -> bool:
    """True if steps of one leave no trace in the other, and the other repeats itself."""
    try:
        return same(_trace(other), _trace(other, beside=one))
    except Exception:  # of the environment: training says it better
        return False


def check_worlds(one: gymnasium.Env, other: gymnasium.Env, draw: TaskSampler) -> None:
    """Look for traces of one copy, with a task of its own, in another.

    Generators are put back as they were. Nothing is found of environments that do not repeat
    themselves from a seed.

    Args:
        one: with `task`, which can be set.
        other: the same.
        draw: draws tasks.

    Raises:
        ConfigError: copies that share a world, or their task.
    """
    with contextlib.ExitStack() as stack:
        for each in (one, other):
            stack.enter_context(generators_kept(each.unwrapped))
            stack.enter_context(instance_generators_kept(each))
        try:
            shared = _shared(one, other, draw)
        except Exception:  # of the environment: training says it better
            return
    if shared:
        raise ConfigError(
            f"Copies of {env_name(one)} share one world: what is done in one of them changes the "
            "episode of another. Let each make its own simulator and keep its own task, or run "
            "each in a process of its own: --env.vectorization async, or in Python "
            "vectorize(..., asynchronous=True)."
        )


def _shared(one: Any, other: Any, draw: TaskSampler) -> bool:
    own, tasks = one.task, draw(2, generator(0))

    def from_a_seed(prepare: Callable[[], object], beside: gymnasium.Env | None) -> list[Any]:
        other.task = tasks[0]
        prepare()
        return _trace(other, beside, generators_kept)

    alone, again = (from_a_seed(lambda: None, None) for _ in range(2))
    if not same(alone, again):
        return False
    beside = from_a_seed(lambda: setattr(one, "task", tasks[1]), one)
    if own is not None:
        with contextlib.suppress(Exception):  # of somebody's set_task, as above
            one.task = own
    return not same(alone, beside)


def _trace(
    env: gymnasium.Env,
    beside: gymnasium.Env | None = None,
    apart: Callable[[Any], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> list[Any]:
    """What a few steps from a seed lead to, while another environment takes steps too.

    Args:
        env: what is looked at.
        beside: the other, if any.
        apart: what holds while the other resets and steps.
    """
    actions, others = (copy.deepcopy(env.action_space) for _ in range(2))
    actions.seed(0)
    others.seed(1)
    trace = [copy.deepcopy(env.reset(seed=0)[0])]
    ended = beside is None
    if beside is not None:
        with apart(beside.unwrapped):
            beside.reset(seed=1)
    for _ in range(_TRIED):
        if beside is not None and not ended:
            with apart(beside.unwrapped):
                _, _, terminated, truncated, _ = beside.step(others.sample())
            ended = terminated or truncated
        observation, reward, terminated, truncated, _ = env.step(actions.sample())
        trace += [copy.deepcopy(observation), reward, terminated, truncated]
        if terminated or truncated:
            break
    return trace
