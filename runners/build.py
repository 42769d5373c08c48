"""From a configuration to the objects that run it."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from rlmaml import losses, models, tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.errors import ConfigError
from rlmaml.metrics import Measure, Predictions, Returns
from rlmaml.models.text import token_count
from rlmaml.rng import Phase, generator
from rlmaml.sampling.examples import ClassLabels, ExampleSampler
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.spaces import encoder
from rlmaml.types import Examples, Params, Policy
from runners.config import TrainConfig
from runners.environments import image_error, import_worlds, make_env, make_family


class Experiment(NamedTuple):
    """A configuration brought to life."""

    sample_tasks: Callable[..., np.ndarray]  # (n, rng, split=) -> [n, ...]
    sampler: RolloutSampler | ExampleSampler
    algorithm: Algorithm
    params: Params  # initial, on config.device
    device: torch.device
    measure: Measure
    fingerprint: str | None = None  # of the data, where a run depends on files

    @property
    def normalizer(self) -> Normalizer | None:
        return getattr(self.sampler, "normalizer", None)

    def close(self) -> None:
        if isinstance(self.sampler, RolloutSampler):
            self.sampler.env.close()


def build(config: TrainConfig, *, tasks: int | None = None) -> Experiment:
    """Make everything a run needs, or with `tasks` everything to evaluate it on so many.

    Raises:
        ConfigError: an unknown environment, wrong constructor arguments, a model that does not fit,
            a device that is not there.
    """
    if tasks is not None:  # an evaluation, which takes no derivative of its inner steps
        inner = dataclasses.replace(config.inner, hessian="support")
        # It may have many more tasks than training found room for at once.
        chunk_size = config.stacked or config.tasks
        config = dataclasses.replace(config, inner=inner, chunk_size=chunk_size)
    device, sampling_device = (_device(name) for name in (config.device, config.sampling_device))
    threads = config.threads or import_worlds().available_cpus()
    torch.set_num_threads(threads)
    _keep_freed_memory()
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = config.tf32  # on by default, of convolutions
    if "cuda" in (device.type, sampling_device.type):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if config.data == "examples":
        return _supervised(config, device, training=tasks is None)
    env = make_env(config, (tasks or config.tasks) * config.episodes, threads)
    observations = encoder(env.single_observation_space)[1]
    model = _seeded(
        config, lambda: models.policy_for(observations, env.single_action_space, config.policy)
    )
    algorithm = _method(config, models.functional(model))
    sampler = RolloutSampler(
        env,
        algorithm.policy,
        episodes=config.episodes,
        horizon=config.horizon,
        advantages=config.outer_advantages,
        support_advantages=config.inner_advantages,
        normalizer=Normalizer(observations) if config.normalize_observations else None,
        device=sampling_device,
        whole=config.batch_by == "steps",
    )
    return Experiment(
        env.sample_tasks, sampler, algorithm, _parameters(model, device), device, Returns()
    )


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensors.

    Left alone it gives megabytes back to the system as soon as they are free, and the next tensor
    of that size waits for every page of them anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # of malloc.h
        mallopt(mmap_threshold, 32 * 1024**2)  # the most it takes
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 64 * 1024**2)


def _supervised(config: TrainConfig, device: torch.device, training: bool) -> Experiment:
    family = make_family(config)
    classification = isinstance(family.outputs, gymnasium.spaces.Discrete)
    loss = losses.cross_entropy if classification else losses.mse

    def made() -> tuple[torch.nn.Module, Algorithm]:
        inputs, outputs = family.inputs, family.outputs
        model = _seeded(
            config,
            lambda: models.predictor_for(
                inputs.shape, outputs, config.policy, config.conv, config.text, token_count(inputs)
            ),
        )
        return model, _method(config, models.functional(model), inner_loss=loss, outer_loss=loss)

    model, algorithm = made()
    if algorithm.data_spec.class_labels:
        try:
            family = ClassLabels(family, relabel=training)
        except ValueError as problem:
            raise ConfigError(str(problem)) from problem
        model, algorithm = made()
    conv = isinstance(model, models.ConvClassifier)
    fresh = training and algorithm.data_spec.fresh_support  # a new task has one set of shots
    try:
        sampler = ExampleSampler(
            family,
            shots=config.examples.shots,
            queries=config.examples.queries,
            separate_hessian=algorithm.data_spec.separate_hessian,
            fresh_support=algorithm.data_spec.steps if fresh else 0,
            reference=conv and config.conv.batch_norm == "support",
            device=device,
        )
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    of_policy = loss(algorithm.policy)
    measure = Predictions(
        algorithm.inner,
        {"accuracy": losses.accuracy(algorithm.policy), "cross_entropy": of_policy}
        if classification
        else {"mse": of_policy},
        chunk_size=config.stacked,
        fresh_support=fresh,
        note=f"{config.conv.batch_norm} batch norm" if conv else "",
    )
    _try_one(family, loss(models.functional(model)), models.parameters(model))
    params = _parameters(model, device)
    fingerprint = getattr(family, "fingerprint", None)
    return Experiment(family.sample, sampler, algorithm, params, device, measure, fingerprint)


def _method(config: TrainConfig, policy: Policy, **losses: Any) -> Algorithm:
    return config.algorithm_class(
        policy,
        config.inner,
        config.outer_step,
        config.algorithm_settings,
        outer_reduction=config.outer_reduction,
        chunk_size=config.stacked,
        **losses,
    )


def _try_one(family: Any, loss: losses.Loss, params: Params) -> None:
    """Whether the model takes what the family gives: a task of it, before anything is written.

    Raises:
        ConfigError: it does not.
    """
    try:
        tasks = family.sample(1, generator(0), split="train")
        (inputs, targets), _ = family.episode(tasks, 1, 1, generator(0))
        data = Examples(torch.from_numpy(inputs[0].copy()), torch.from_numpy(targets[0].copy()))
        loss(params, tree.map(lambda x: x.float() if x.is_floating_point() else x, data))
    except (TypeError, ValueError, RuntimeError, IndexError) as problem:
        if isinstance(problem, image_error()):
            raise
        raise ConfigError(
            f"The examples of {type(family).__name__} do not fit its `inputs` {family.inputs} and "
            f"`outputs` {family.outputs}: {problem}"
        ) from problem


def _seeded(config: TrainConfig, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A module initialized from the run's seed."""
    seed = int(generator(config.seed, 0, Phase.INITIALIzE).integers(2**62))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return make()
        except ValueError as problem:
            raise ConfigError(str(problem)) from problem


def _parameters(model: torch.nn.Module, device: torch.device) -> Params:
    return {name: value.to(device) for name, value in models.parameters(model).items()}


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as problem:
        raise ConfigError(f"Unknown device {name!r}: use cpu, cuda or cuda:INDEX.") from problem
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"Device {name!r} is not supported: use cpu, cuda or cuda:INDEX.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"No such CUDA device here: {name}. Use --device cpu.")
    return device
