"""From a configuration to the world it names: Gymnasium environments, ours or yours."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium

import rlmaml
from rlmaml.examples import TaskInputs
from rlmaml.tasks import TaskObservation, vectorise
from runners.config import TrainConfig
from runners.errors import UsageError


def make_env(config: TrainConfig, copies: int, threads: int) -> Any:
    """A vector environment with `task_space`, `sample_tasks` and `set_tasks`."""
    import_worlds()
    with _told_plainly(config):
        made = _make_env(config, copies, threads)
        return TaskObservation(made) if config.env.observe_task else made


def _make_env(config: TrainConfig, copies: int, threads: int) -> Any:
    env = config.env
    spec = _spec(env.id)
    batched = spec.vector_entry_point is not None
    if env.vectorisation == "batched" or (env.vectorisation == "auto" and batched):
        made = gymnasium.make_vec(
            env.id,
            num_envs=copies,
            vectorization_mode="vector_entry_point",
            max_episode_steps=config.horizon,
            autoreset_mode="Disabled",
            num_threads=threads,
            **env.kwargs,
        )
        if not hasattr(made, "set_tasks"):
            raise TypeError(
                f"{env.id}'s own vector environment has no set_tasks: pass --env.vectorisation sync"
            )
        return made

    def make() -> gymnasium.Env:
        return gymnasium.make(
            env.id, max_episode_steps=config.horizon, disable_env_checker=True, **env.kwargs
        )

    return vectorise(make, copies, asynchronous=env.vectorisation == "async")


def make_family(config: TrainConfig) -> Any:
    """A family of labelled examples: what the environment of that id draws from."""
    import_worlds()
    env = config.env
    with _told_plainly(config):
        _spec(env.id)
        made = gymnasium.make(env.id, disable_env_checker=True, **env.kwargs).unwrapped
        if not hasattr(made, "examples"):
            raise TypeError(
                "it has no labelled examples (an attribute `examples` with `sample` and "
                "`episode`): pass --data episodes to learn from its rewards"
            )
        lacking = [
            name
            for name in ("sample", "episode", "inputs", "outputs")
            if not hasattr(made.examples, name)
        ]
        if not lacking and "split" not in inspect.signature(made.examples.sample).parameters:
            lacking = ["sample(n, rng, split)"]
        if lacking:
            raise TypeError(
                f"its `examples` lack {', '.join(lacking)}; envs.examples.ExampleTasks says what "
                "is needed"
            )
        return TaskInputs(made.examples) if env.observe_task else made.examples


def image_error() -> type[ValueError]:
    """What is raised in the middle of a run where an image of a folder cannot be read."""
    return importlib.import_module("envs.images").ImageFolderError


@contextlib.contextmanager
def _told_plainly(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (gymnasium.error.Error, TypeError, ValueError, ImportError, OSError) as problem:
        raise UsageError(
            f"Cannot make the environment {config.env.id} with {config.env.kwargs}: {problem}"
        ) from problem


def import_worlds() -> Any:
    """Import our `envs`, and make sure that it is ours: people have folders of that name."""
    worlds = importlib.import_module("envs")
    ours = Path(rlmaml.__file__).resolve().parent.parent / "envs"
    found = Path(worlds.__file__).resolve().parent if worlds.__file__ else "a folder without code"
    if found != ours:
        raise UsageError(
            f"The package `envs` was found at {found}, but rlmaml's own is {ours}. Run from "
            "another folder, or rename yours."
        )
    importlib.import_module("envs.engine")
    return worlds


def _spec(env_id: str) -> Any:
    module, colon, name = env_id.rpartition(":")
    if colon:
        if os.getcwd() not in sys.path:  # a console script does not look where it is run
            sys.path.insert(0, os.getcwd())
        importlib.import_module(module)
    return gymnasium.spec(name)
