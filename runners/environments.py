"""Environments that a configuration names: ours or yours, by their Gymnasium ids."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from numpy.typing import ArrayLike

from rlmaml import processes
from rlmaml.build import Experiment, build, resolve_device
from rlmaml.config import TrainConfig
from rlmaml.envs_location import find_envs
from rlmaml.errors import ConfigError, EnvironmentFault
from rlmaml.rng import generator
from rlmaml.sampling.env_check import PlainNumbers, check_vector_env
from rlmaml.sampling.examples import Family, TaskInputs
from rlmaml.sampling.task_sampler import TaskSampler
from rlmaml.sampling.task_values import plain, text
from rlmaml.sampling.tasks import attribute, points, task_setter
from rlmaml.sampling.vector_env import TaskObservation, TaskVectorEnv, vectorize
from rlmaml.types import Meta
from runners.memory import check_memory


def build_experiment(
    config: TrainConfig, *, tasks: int | None = None, stored: Meta | None = None
) -> Experiment:
    """Make the environments that a run names, and everything else that it needs with them.

    Args:
        config: the run.
        tasks: N, to measure it on so many tasks; None to train.
        stored: the meta-parameters that the network is for, if there are any already.

    Raises:
        ConfigError: an unknown environment, wrong arguments of its constructor, a model that does
            not fit or is larger than what is stored, or a device that is not there.
    """
    check_memory(config, tasks)
    if config.data == "examples":
        return build(config, make_family(config), tasks=tasks, stored=stored)
    for device in (config.device, config.sampling_device):
        resolve_device(device)
    own = processes.share(tasks or config.tasks)
    copies = (own.stop - own.start) * config.episodes
    env = make_env(config, copies, available_threads(config))
    try:
        return build(config, env, tasks=tasks, stored=stored)
    except BaseException:
        env.close()
        raise


def available_threads(config: TrainConfig) -> int:
    """The threads that a run may use: its own number, or as many as there are CPUs for it."""
    return config.threads or max(1, find_envs().available_cpus() // processes.per_host())


def make_env(config: TrainConfig, copies: int, threads: int) -> TaskVectorEnv:
    """A vector environment of so many copies.

    Raises:
        ConfigError: an environment that cannot be made.
    """
    _check_mujoco()
    with _errors_explained(config):
        env = _make_vector(config, copies, threads)
        try:
            return TaskObservation(env) if config.env.observe_task else env
        except ConfigError:
            env.close()
            raise


def _make_vector(config: TrainConfig, copies: int, threads: int) -> TaskVectorEnv:
    chosen = config.env
    batched = _spec(chosen.id).vector_entry_point is not None
    if chosen.vectorization in ("batched", "warp") or (chosen.vectorization == "auto" and batched):
        return _make_batched(config, copies, threads)

    limit = _time_limit(config)

    def make() -> gymnasium.Env:
        return gymnasium.make(
            chosen.id, max_episode_steps=limit, disable_env_checker=True, **chosen.kwargs
        )

    return vectorize(make, copies, asynchronous=chosen.vectorization == "async")


def _time_limit(config: TrainConfig) -> int:
    """Time steps after which an episode is truncated: the horizon, or less if the id has less.

    The limits that our own ids are registered with are only Gymnasium's defaults.
    """
    spec = _spec(config.env.id)
    if spec.namespace == "rlmaml" or spec.max_episode_steps is None:
        return config.horizon
    return min(config.horizon, spec.max_episode_steps)


def _make_batched(config: TrainConfig, copies: int, threads: int) -> TaskVectorEnv:
    """The environment's own vector environment.

    Raises:
        TypeError: one without `set_tasks`, or that does not take our arguments.
        ConfigError: one whose methods return something else than they should.
    """
    chosen, spec = config.env, _spec(config.env.id)
    hint = "pass --env.vectorization sync" if spec.entry_point else "it must have what is missing"
    arguments: dict[str, Any] = {
        "max_episode_steps": _time_limit(config),
        "autoreset_mode": "Disabled",
        "num_threads": threads,
    }
    if chosen.vectorization == "warp":
        arguments["simulate"] = _warp(chosen.id)
    try:
        env: Any = gymnasium.make_vec(
            chosen.id,
            num_envs=copies,
            vectorization_mode="vector_entry_point",
            **arguments,
            **chosen.kwargs,
        )
    except TypeError as problem:
        if spec.namespace == "rlmaml":
            raise
        raise TypeError(
            f"its own vector environment is made with {', '.join(arguments)}: {problem}; {hint}"
        ) from problem
    try:
        if not hasattr(env, "set_tasks") and (inner := attribute(env, "set_tasks")) is not None:
            env.set_tasks = inner  # of what a wrapper is around
        if not hasattr(env, "set_tasks"):
            raise TypeError(f"{chosen.id}'s own vector environment has no set_tasks: {hint}")
        _check_batched(env)
    except BaseException:
        env.close()
        raise
    return env


def _warp(id: str) -> Any:
    """The class of simulations by MuJoCo Warp, for a robot's id."""
    registry, row = _in_envs("registry"), id.rpartition(":")[2]
    if _spec(id).namespace != "rlmaml" or registry.find(row).batched != registry.ROBOTS:
        raise ConfigError(f"env.vectorization warp is of rlmaml's robots, and {id} is none.")
    made = _in_envs("locomotion.warp").WarpBatch
    return partial(made, device=processes.device("cuda")) if torch.cuda.is_available() else made


def _check_batched(env: Any) -> None:
    """Look at a vector environment with tasks of its own before a run begins."""
    try:
        tasks = TaskSampler(env)(env.num_envs, generator(0))
    except Exception:  # whoever draws tasks says why there are none
        return
    check_vector_env(env, tasks)


def make_single(config: TrainConfig, **drawing: Any) -> gymnasium.Env:
    """One environment, with the run's time limit.

    Args:
        config: the run's.
        drawing: none, or how to draw: `render_mode="rgb_array"`, and `width`, `height` and
            `pretty`, which environments of other people are not asked for.

    Raises:
        ConfigError: an environment that cannot be made, or does not draw like that.
    """
    _check_mujoco()
    chosen = config.env
    with _errors_explained(config):
        spec = _spec(chosen.id)
        arguments = {
            "max_episode_steps": _time_limit(config),
            "disable_env_checker": True,
            **chosen.kwargs,
        }
        env = gymnasium.make(chosen.id, **arguments)
        if not drawing:
            return env if spec.namespace == "rlmaml" else PlainNumbers(env)
        modes = env.metadata.get("render_modes", [])
        env.close()
        if drawing["render_mode"] not in modes:
            raise ConfigError(
                f"{chosen.id} does not draw what a video needs: its render_modes are {modes}, "
                f"{drawing['render_mode']!r} is not among them."
            )
        if spec.namespace != "rlmaml":
            drawing = {"render_mode": drawing["render_mode"]}
        env = gymnasium.make(chosen.id, **{**arguments, **drawing})
        env = env if spec.namespace == "rlmaml" else PlainNumbers(env)
    if hasattr(env.unwrapped, "mujoco_renderer"):
        opengl = _opengl()
        try:
            opengl.choose_opengl()
            opengl.check_opengl()
        except opengl.NoOpenGLError as problem:
            env.close()
            raise ConfigError(str(problem)) from problem
    return env


def make_family(config: TrainConfig) -> Family:
    """A family of labeled examples: what the environment of that id draws from.

    Raises:
        ConfigError: an environment that cannot be made, or draws from no labeled examples.
    """
    chosen = config.env
    with _errors_explained(config):
        _spec(chosen.id)
        env = gymnasium.make(chosen.id, disable_env_checker=True, **chosen.kwargs)
        family: Any = attribute(env, "examples")
        if family is None:
            raise TypeError(
                "it has no labeled examples (an attribute `examples` with `sample` and "
                "`episode`): pass --data episodes to learn from its rewards"
            )
        lacking = [
            name for name in ("sample", "episode", "inputs", "outputs") if not hasattr(family, name)
        ]
        if not lacking and "split" not in inspect.signature(family.sample).parameters:
            lacking = ["sample(n, rng, split)"]
        if lacking:
            raise TypeError(
                f"its `examples` lack {', '.join(lacking)}; envs.few_shot.base.ExampleTasks says "
                "what is needed"
            )
        return TaskInputs(family) if chosen.observe_task else family


def make_with_task(config: TrainConfig, task: Any) -> gymnasium.Env:
    """One environment with the run's time limit and a task.

    Raises:
        ConfigError: an environment that cannot be made, or no task of it.
    """
    env = make_single(config)
    try:
        set_task(env, task)
    except BaseException:
        env.close()
        raise
    return env


def set_task(env: gymnasium.Env, task: Any) -> None:
    """Set the task of a single environment.

    Raises:
        ConfigError: no task of the environment.
    """
    setter = task_setter(env)
    if setter is None:
        raise ConfigError(f"{env} has no `set_task`.")
    try:
        setter(task)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    except Exception as problem:  # of somebody's own set_task
        raise ConfigError(
            f"{env} does not take the task {text(task)}: its set_task raised "
            f"{type(problem).__name__}: {problem}"
        ) from problem


def task_points(space: gymnasium.Space | None, numbers: ArrayLike) -> np.ndarray:
    """The points of a task space that numbers stand for, one after another.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary or Box; or a Tuple or Dict of those, which takes
            the numbers of its parts in their order.
        numbers: of n points, in row-major order.

    Returns:
        [n, *space.shape], or objects [n].

    Raises:
        ConfigError: numbers that are no points of the space, or a space without numbers.
    """
    if space is None:
        raise ConfigError(
            "--task takes the numbers of a point of task_space, and the environment has none: its "
            "tasks come from sample_tasks alone. Leave out --task, or adapt from Python, "
            "rlmaml.load(run).adapt(env)."
        )
    return points(space, numbers)


def task_label(source: Any, task: Any) -> str:
    """A task of an environment, single or batched, or of a family of examples, in a few words."""
    describe = attribute(source, "describe") or attribute(
        getattr(source, "unwrapped", source), "describe"
    )
    with contextlib.suppress(Exception):  # of a `describe` that is of another meaning
        described = describe(task)  # pyright: ignore[reportOptionalCall]
        if described is not None:
            return str(described)
    if isinstance(task, np.ndarray | np.generic | int | float) and np.asarray(task).dtype != object:
        return f"task {np.array2string(np.asarray(task), precision=2, threshold=4)}"
    return f"task {text(task)}"


def task_name(tasks: Iterable[Any]) -> str:
    """Tasks as part of a file's name: their numbers and words."""
    words = re.findall(r"[\w.+-]+", str([plain(task) for task in tasks]), re.ASCII)
    number = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?")
    short = (f"{float(word):.4g}" if number.fullmatch(word) else word for word in words)
    return "_".join(short)[:100]


def picture(env: gymnasium.Env) -> np.ndarray:
    """Picture that the environment draws, [height, width, 3] bytes.

    Raises:
        ConfigError: an environment that cannot draw here and now.
    """
    try:
        return np.asarray(env.render())
    except (gymnasium.error.Error, _opengl().NoOpenGLError) as problem:
        raise ConfigError(f"{env.spec.id if env.spec else env}: {problem}") from problem


def data_error() -> type[ValueError]:
    """The error that is raised in the middle of a run by a file of images that cannot be read."""
    return _in_envs("few_shot.image_folder").ImageFolderError


@contextlib.contextmanager
def _errors_explained(config: TrainConfig) -> Iterator[None]:
    """Tell which environment could not be made, whatever its constructor raised."""
    try:
        yield
    except (ConfigError, EnvironmentFault):
        raise
    except (Exception, SystemExit) as problem:  # whatever somebody's own constructor raises
        known = gymnasium.error.Error | TypeError | ValueError | ImportError | OSError
        kind = "" if isinstance(problem, known) else f"{type(problem).__name__}: "
        raise ConfigError(
            f"Cannot make the environment {config.env.id} with {config.env.kwargs}: {kind}"
            f"{' '.join(str(problem).split())}"
        ) from problem


def _check_mujoco() -> None:
    """Import MuJoCo, which raises whatever it makes of an OpenGL that MUJOCO_GL asks it for.

    Raises:
        ConfigError: an OpenGL that is not there.
    """
    try:
        _in_envs("locomotion.mujoco_utils")
    except Exception as problem:
        if not os.environ.get("MUJOCO_GL"):
            raise
        raise ConfigError(str(_opengl().no_opengl(problem))) from problem


def _opengl() -> Any:
    return _in_envs("locomotion.opengl")


def _in_envs(module: str) -> ModuleType:
    """A module of our `envs`, under whatever name that was imported."""
    return importlib.import_module(f"{find_envs().__name__}.{module}")


def _spec(env_id: str) -> EnvSpec:
    """Look up what is registered under an id.

    Raises:
        gymnasium.error.Error: nothing.
        ImportError: the module before the colon cannot be imported.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        importlib.import_module(module)
    return gymnasium.spec(name)
