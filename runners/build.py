"""From a configuration to the objects that run it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import torch

import rlmaml
from rlmaml import models
from rlmaml.algorithms.maml import MAML
from rlmaml.random import Phase, generator
from rlmaml.sampling import Normaliser, RolloutSampler, encoder
from rlmaml.tasks import vectorise
from rlmaml.types import Params
from runners.config import TrainConfig
from runners.errors import UsageError


class Experiment(NamedTuple):
    """A configuration brought to life."""

    env: Any  # vector environment of tasks * episodes copies
    sampler: RolloutSampler
    algorithm: MAML
    params: Params  # initial, on config.device
    device: torch.device


def build(
    config: TrainConfig, *, tasks: int | None = None, episodes: int | None = None
) -> Experiment:
    """Make everything a run needs. `tasks` and `episodes` override the configuration's.

    Raises:
        UsageError: an unknown environment, wrong constructor arguments, a device that is
            not there.
    """
    device, sampling_device = (_device(name) for name in (config.device, config.sampling_device))
    threads = config.threads or import_worlds().engine.available_cpus()
    torch.set_num_threads(threads)
    if "cuda" in (device.type, sampling_device.type):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    episodes = episodes or config.episodes
    env = make_env(config, (tasks or config.tasks) * episodes, threads)
    model = make_policy(env, config)
    policy = models.functional(model)
    normaliser = None
    if config.normalise_observations:
        normaliser = Normaliser(encoder(env.single_observation_space)[1])
    sampler = RolloutSampler(
        env,
        policy,
        episodes=episodes,
        horizon=config.horizon,
        advantages=config.outer_advantages,
        support_advantages=config.inner_advantages,
        normaliser=normaliser,
        device=sampling_device,
    )
    algorithm = MAML(policy, config.inner, config.trust_region, chunk_size=config.chunk_size)
    params = {name: value.to(device) for name, value in models.parameters(model).items()}
    return Experiment(env, sampler, algorithm, params, device)


def make_env(config: TrainConfig, copies: int, threads: int) -> Any:
    """A vector environment with `task_space`, `sample_tasks` and `set_tasks`."""
    import_worlds()
    env = config.env
    try:
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
                    f"{env.id}'s own vector environment has no set_tasks: pass "
                    "--env.vectorisation sync"
                )
            return made

        def make() -> gymnasium.Env:
            return gymnasium.make(
                env.id, max_episode_steps=config.horizon, disable_env_checker=True, **env.kwargs
            )

        return vectorise(make, copies, asynchronous=env.vectorisation == "async")
    except (gymnasium.error.Error, TypeError, ValueError, ImportError) as problem:
        raise UsageError(
            f"Cannot make the environment {env.id} with {env.kwargs}: {problem}"
        ) from problem


def make_policy(env: Any, config: TrainConfig) -> torch.nn.Module:
    """The policy network for an environment's spaces, initialised from the run's seed."""
    (size,) = _vector(encoder(env.single_observation_space)[1], env)
    actions = env.single_action_space
    seed = int(generator(config.seed, 0, Phase.INITIALISE).integers(2**62))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(actions, gymnasium.spaces.Discrete):
            return models.CategoricalMLP(size, int(actions.n), config.policy)
        return models.GaussianMLP(size, *_vector(actions.shape, env), config.policy)


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


def _vector(shape: tuple[int, ...] | None, env: Any) -> tuple[int]:
    if shape is None or len(shape) != 1:
        raise UsageError(
            f"The built-in policies take vectors, but {env} has a space of shape {shape}. Wrap it "
            "(gymnasium.wrappers.FlattenObservation) or use the Python API with your own module."
        )
    return (shape[0],)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as problem:
        raise UsageError(f"Unknown device {name!r}: use cpu, cuda or cuda:INDEX.") from problem
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"Device {name!r} is not supported: use cpu, cuda or cuda:INDEX.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"No such CUDA device here: {name}. Use --device cpu.")
    return device
