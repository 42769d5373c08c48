"""From a configuration to the environments it names: Gymnasium's, ours or yours."""

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
import numpy as np
from numpy.typing import ArrayLike

import rlmaml
from rlmaml.build import Experiment, build
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.sampling.examples import TaskInputs
from rlmaml.sampling.vector_env import TaskObservation, vectorize


def build_experiment(config: TrainConfig, *, tasks: int | None = None) -> Experiment:
    """Make the environments that a run names, and everything else that it needs with them.

    Args:
        config: the run.
        tasks: N, to measure it on so many tasks; None to train.

    Raises:
        ConfigError: an unknown environment, wrong arguments of its constructor, a model that does
            not fit, or a device that is not there.
    """
    if config.data == "examples":
        return build(config, make_family(config), tasks=tasks)
    copies = (tasks or config.tasks) * config.episodes
    return build(config, make_env(config, copies, available_threads(config)), tasks=tasks)


def available_threads(config: TrainConfig) -> int:
    """The threads that a run may use: its own number, or as many as there are CPUs for it."""
    return config.threads or import_envs().available_cpus()


def make_env(config: TrainConfig, copies: int, threads: int) -> Any:
    """A vector environment with `task_space`, `sample_tasks` and `set_tasks`."""
    import_envs()
    with _errors_explained(config):
        made = _make_env(config, copies, threads)
        return TaskObservation(made) if config.env.observe_task else made


def _make_env(config: TrainConfig, copies: int, threads: int) -> Any:
    env = config.env
    spec = _spec(env.id)
    batched = spec.vector_entry_point is not None
    if env.vectorization == "batched" or (env.vectorization == "auto" and batched):
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
                f"{env.id}'s own vector environment has no set_tasks: pass --env.vectorization sync"
            )
        return made

    def make() -> gymnasium.Env:
        return gymnasium.make(
            env.id, max_episode_steps=config.horizon, disable_env_checker=True, **env.kwargs
        )

    return vectorize(make, copies, asynchronous=env.vectorization == "async")


def make_single(config: TrainConfig, **drawing: Any) -> gymnasium.Env:
    """One environment, with the run's time limit.

    Args:
        config: the run's.
        drawing: none, or how to draw: `render_mode="rgb_array"`, and `width`, `height` and
            `pretty`, which environments of other people are not asked for.

    Raises:
        ConfigError: it cannot be made, or does not draw like that.
    """
    import_envs()
    env = config.env
    with _errors_explained(config):
        spec = _spec(env.id)
        arguments = {
            "max_episode_steps": config.horizon,
            "disable_env_checker": True,
            **env.kwargs,
        }
        made = gymnasium.make(env.id, **arguments)
        if not drawing:
            return made
        modes = made.metadata.get("render_modes", [])
        made.close()
        if drawing["render_mode"] not in modes:
            raise ConfigError(
                f"{env.id} does not draw what a video needs: its render_modes are {modes}, "
                f"{drawing['render_mode']!r} is not among them."
            )
        if spec.namespace != "rlmaml":
            drawing = {"render_mode": drawing["render_mode"]}
        made = gymnasium.make(env.id, **{**arguments, **drawing})
    if hasattr(made.unwrapped, "mujoco_renderer"):
        headless = _headless()
        try:
            headless.choose_opengl()
            headless.check_opengl()
        except headless.NoOpenGLError as problem:
            raise ConfigError(str(problem)) from problem
    return made


def set_task(env: gymnasium.Env, task: Any) -> None:
    """Set the task of a single environment.

    Raises:
        ConfigError: it is not one, to the environment.
    """
    try:
        env.unwrapped.set_task(task)  # pyright: ignore[reportAttributeAccessIssue]
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem


def task_points(space: gymnasium.Space, numbers: ArrayLike) -> np.ndarray:
    """The points of a task space that numbers stand for, one after another.

    Args:
        space: Discrete or Box.
        numbers: of n points, in row-major order.

    Returns:
        [n, *space.shape].

    Raises:
        ConfigError: they are not points of the space.
    """
    given = np.asarray(numbers, np.float64).ravel()
    size = int(np.prod(space.shape or ()))
    points = given.astype(space.dtype)
    if len(given) % size or (np.dtype(space.dtype).kind == "i" and (points != given).any()):
        what = "integers" if np.dtype(space.dtype).kind == "i" else "numbers"
        raise ConfigError(
            f"--task takes points of {space}, {size} {what} for each; got {given.tolist()}."
        )
    chosen = points.reshape(-1, *(space.shape or ()))
    for point in chosen:
        if not space.contains(point):
            raise ConfigError(f"--task {point.tolist()} is no point of the task space {space}.")
    return chosen


def task_label(world: Any, task: Any) -> str:
    """A task of an environment, single or batched, or of a family of examples, in a few words."""
    describe = getattr(getattr(world, "unwrapped", world), "describe", None)
    if describe is not None:
        return describe(task)
    return f"task {np.array2string(np.asarray(task), precision=2, threshold=4)}"


def picture(env: gymnasium.Env) -> np.ndarray:
    """What the environment draws, [height, width, 3] bytes.

    Raises:
        ConfigError: it cannot, here and now.
    """
    try:
        return np.asarray(env.render())
    except (gymnasium.error.Error, _headless().NoOpenGLError) as problem:
        raise ConfigError(f"{env.spec.id if env.spec else env}: {problem}") from problem


def _headless() -> Any:
    return importlib.import_module("envs.locomotion.opengl")


def make_family(config: TrainConfig) -> Any:
    """A family of labeled examples: what the environment of that id draws from."""
    import_envs()
    env = config.env
    with _errors_explained(config):
        _spec(env.id)
        made = gymnasium.make(env.id, disable_env_checker=True, **env.kwargs).unwrapped
        if not hasattr(made, "examples"):
            raise TypeError(
                "it has no labeled examples (an attribute `examples` with `sample` and "
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


def data_error() -> type[ValueError]:
    """The error that is raised in the middle of a run by a file of images that cannot be read."""
    return importlib.import_module("envs.few_shot.image_folder").ImageFolderError


@contextlib.contextmanager
def _errors_explained(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (gymnasium.error.Error, TypeError, ValueError, ImportError, OSError) as problem:
        raise ConfigError(
            f"Cannot make the environment {config.env.id} with {config.env.kwargs}: {problem}"
        ) from problem


def import_envs() -> Any:
    """Import our `envs`, and make sure that it is ours: people have folders of that name."""
    worlds = importlib.import_module("envs")
    ours = Path(rlmaml.__file__).resolve().parent.parent / "envs"
    found = Path(worlds.__file__).resolve().parent if worlds.__file__ else "a folder without code"
    if found != ours:
        raise ConfigError(
            f"The package `envs` was found at {found}, but rlmaml's own is {ours}. Run from "
            "another folder, or rename yours."
        )
    try:
        importlib.import_module("envs.locomotion.mujoco_utils")
    except Exception as problem:  # whatever MuJoCo makes of an OpenGL that MUJOCO_GL asks it for
        if not os.environ.get("MUJOCO_GL"):
            raise
        raise ConfigError(str(_headless().no_opengl(problem))) from problem
    return worlds


def _spec(env_id: str) -> Any:
    module, colon, name = env_id.rpartition(":")
    if colon:
        if os.getcwd() not in sys.path:  # a console script does not look where it is run
            sys.path.insert(0, os.getcwd())
        importlib.import_module(module)
    return gymnasium.spec(name)
