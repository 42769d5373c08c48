"""The only factory: a configuration, and what its tasks are played in, become a run's parts.

Training, evaluation and `rlmaml.load` build models, algorithms and samplers here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from torch import nn

from rlmaml import losses, models, processes, tree
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import DataSpec
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.metrics import Metric, Predictions, Returns
from rlmaml.models.spec import PredictorSpec
from rlmaml.rng import Phase, generator
from rlmaml.sampling.examples import ClassFamily, ClassLabels, ExampleSampler, Family
from rlmaml.sampling.faults import require_finite_examples
from rlmaml.sampling.fill_to_horizon import FillToHorizon
from rlmaml.sampling.fixed_task import FixedTask
from rlmaml.sampling.fixed_tasks import FixedTasks
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.spaces import action_filter, check_reach, encoder
from rlmaml.sampling.task_sampler import TaskSampler
from rlmaml.torch_state import plain_defaults, shapes_alone
from rlmaml.types import Examples, Meta, Params

_SMALL = 10**6
"""Numbers of a network that can be made anywhere, whatever it is to be given."""


@dataclass(frozen=True)
class Experiment:
    """A configuration brought to life."""

    sample_tasks: Callable[..., np.ndarray]  # (n, rng, split=) -> [n, ...]
    sampler: RolloutSampler | FillToHorizon | ExampleSampler
    model: nn.Module
    algorithm: Algorithm
    device: torch.device
    metric: Metric
    predictor_spec: PredictorSpec | None = None  # of labeled examples
    fingerprint: str | None = None  # of the data, where a run depends on files

    @property
    def params(self) -> Params:
        """The network's initial parameters, on `device`."""
        return tree.to(models.parameters(self.model), self.device)

    @property
    def normalizer(self) -> Normalizer | None:
        """Standardization of observations; None if there is none."""
        return None if isinstance(self.sampler, ExampleSampler) else self.sampler.normalizer

    @property
    def tasks_source(self) -> Any:
        """The environments, or the family of labeled examples."""
        sampler = self.sampler
        return sampler.family if isinstance(sampler, ExampleSampler) else sampler.env

    def close(self) -> None:
        """Close the environments."""
        if not isinstance(self.sampler, ExampleSampler):
            self.sampler.env.close()


def build(
    config: TrainConfig, source: Any, *, tasks: int | None = None, stored: Meta | None = None
) -> Experiment:
    """Make everything that a run needs, or everything to measure it on so many tasks.

    Args:
        config: the run.
        source: what tasks are played in: a vector environment with `task_space`, `sample_tasks` and
            `set_tasks`, as many copies for each task as it is to play episodes; or a family of
            labeled examples.
        tasks: N of an evaluation; None to train on `config.tasks`.
        stored: the meta-parameters that the network is for, if there are any already.

    Raises:
        ConfigError: spaces that no network here takes, tasks that cannot be drawn, data that the
            network does not take, a network larger than what is stored, or a device that is not
            there.
    """
    training = tasks is None
    if not training:
        config = config.for_evaluation()
    device = resolve_device(config.device)
    own = processes.share(config.tasks if tasks is None else tasks)
    if config.data == "examples":
        return _from_examples(config, source, device, training, stored)
    return _from_episodes(config, source, device, own, training, stored)


def build_policy(
    config: TrainConfig,
    observations: gymnasium.Space,
    actions: gymnasium.Space,
    stored: Meta | None = None,
) -> nn.Module:
    """The policy network for an environment's spaces, initialized from the run's seed.

    Raises:
        ConfigError: spaces that no network here sees or acts in, or a network larger than the
            `stored` meta-parameters that it is for.
    """
    shape = encoder(observations)[1]
    action_filter(actions, config.env.rescale_actions)
    return _seeded(config, lambda: models.policy_for(shape, actions, config.policy), stored)


def build_predictor(
    config: TrainConfig, spec: PredictorSpec, stored: Meta | None = None
) -> nn.Module:
    """The network for labeled examples, initialized from the run's seed.

    Raises:
        ConfigError: inputs that no network here takes, or a network larger than the `stored`
            meta-parameters that it is for.
    """
    networks = config.policy, config.conv, config.text
    return _seeded(
        config,
        lambda: models.predictor_for(spec.input_shape, spec.outputs, *networks, spec.num_tokens),
        stored,
    )


def build_algorithm(
    config: TrainConfig, model: nn.Module | None, spec: PredictorSpec | None = None
) -> Algorithm:
    """The algorithm for a network.

    Args:
        config: the run.
        model: the network; None where the algorithm is only asked what it collects.
        spec: of a predictor, which decides its loss; None for a policy.
    """
    policy: Any = None if model is None else models.functional(model)
    loss = None if spec is None else supervised_loss(spec)
    return config.algorithm_class(
        policy,
        config.inner,
        config.outer_step,
        config.algorithm_settings,
        inner_loss=loss,
        outer_loss=loss,
        outer_reduction=config.outer_reduction,
        chunk_size=config.tasks_per_chunk,
    )


def supervised_loss(spec: PredictorSpec) -> Callable[..., losses.Loss]:
    """The loss that labeled examples are learned by."""
    return losses.cross_entropy if spec.classifies else losses.mse


def data_spec(config: TrainConfig) -> DataSpec:
    """Data that the run's algorithm collects for a meta-update."""
    any_spec = PredictorSpec((1,), None, 1, False) if config.data == "examples" else None
    return build_algorithm(config, None, any_spec).data_spec


def data_per_task(config: TrainConfig) -> int:
    """Examples (per class, of a classification) or episodes of one task in a meta-iteration."""
    spec = data_spec(config)
    if config.data == "episodes":
        return config.episodes * (spec.steps * (1 + spec.separate_hessian) + 1)
    sets = spec.steps if spec.fresh_support else min(spec.steps, 1)
    return config.examples.shots * (sets + spec.separate_hessian) + config.examples.queries


def check_new_policy(config: TrainConfig, experiment: Experiment) -> None:
    """Check that a policy that has not learned yet acts where its environment can tell.

    Raises:
        ConfigError: a Box of actions that it does not reach, or too little of.
    """
    if config.data == "episodes":
        actions = experiment.tasks_source.single_action_space
        check_reach(actions, config.policy.init_log_std, config.env.rescale_actions)


def resolve_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ConfigError: an unknown device, or one that is not there.
    """
    try:
        device = torch.device(processes.device(name))
    except RuntimeError as problem:
        raise ConfigError(f"Unknown device {name!r}: use cpu, cuda or cuda:INDEX.") from problem
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"Device {name!r} is not supported: use cpu, cuda or cuda:INDEX.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"No such CUDA device here: {name}. Use --device cpu.")
    return device


def _from_episodes(
    config: TrainConfig,
    env: Any,
    device: torch.device,
    own: slice,
    training: bool,
    stored: Meta | None,
) -> Experiment:
    tasks = own.stop - own.start
    observations = env.single_observation_space
    model = build_policy(config, observations, env.single_action_space, stored)
    algorithm = build_algorithm(config, model)
    normalizer = None
    if config.normalize_observations:
        normalizer = Normalizer(encoder(observations)[1])
    sampler = RolloutSampler(
        env,
        algorithm.policy,
        episodes=env.num_envs // tasks,
        horizon=config.horizon,
        advantages=config.outer_advantages,
        support_advantages=config.inner_advantages,
        normalizer=normalizer,
        device=resolve_device(config.sampling_device),
        rescale_actions=config.env.rescale_actions,
        first=own.start,
    )
    if config.batch_by == "steps":
        sampler = FillToHorizon(sampler)
    fixed = isinstance(env, FixedTask)
    sample_tasks = _no_tasks if fixed else _task_law(config, TaskSampler(env))
    if training or (config.env.observe_task and not fixed):  # or a folder would be made before
        copies = algorithm.data_spec.task_copies if training else 1
        _try_tasks(config.env.id, env, sample_tasks, max(1, tasks // copies))
    return Experiment(sample_tasks, sampler, model, algorithm, device, Returns())


def _task_law(config: TrainConfig, sample: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A family's law of tasks, or lists drawn from it once, if the run is to have some."""
    counts = {"train": config.env.train_tasks, "test": config.env.test_tasks}
    given = {split: count for split, count in counts.items() if count is not None}
    return FixedTasks(sample, config.env.tasks_seed, given) if given else sample


def _try_tasks(name: str, env: Any, sample: Callable[..., np.ndarray], count: int) -> None:
    """Check that tasks can be drawn, so many at a time, and set.

    Raises:
        ConfigError: what the environment makes of it.
    """
    doing = "sample_tasks"
    try:
        tasks = sample(count, generator(0))
        doing = "set_task"
        env.set_tasks(tasks[np.arange(env.num_envs) % count])
    except ConfigError:
        raise
    except Exception as problem:  # of the environment's own code
        raise ConfigError(
            f"`{doing}` of the environment {name} raised {type(problem).__name__}: {problem}"
        ) from problem


def _no_tasks(*_: Any, **__: Any) -> np.ndarray:
    raise ConfigError("The environment has the one task that it was given.")


def _from_examples(
    config: TrainConfig, family: Family, device: torch.device, training: bool, stored: Meta | None
) -> Experiment:
    spec = PredictorSpec.of_spaces(family.inputs, family.outputs)
    model = build_predictor(config, spec, stored)
    algorithm = build_algorithm(config, model, spec)
    if algorithm.data_spec.class_labels:
        family = ClassLabels(cast(ClassFamily, family), relabel=training)
        spec = PredictorSpec.of_spaces(family.inputs, family.outputs)
        model = build_predictor(config, spec, stored)
        algorithm = build_algorithm(config, model, spec)
    data = algorithm.data_spec
    convolutional = isinstance(model, models.ConvClassifier)
    fresh = training and data.fresh_support  # a new task has one set of shots
    sampler = ExampleSampler(
        family,
        shots=config.examples.shots,
        queries=config.examples.queries,
        separate_hessian=data.separate_hessian,
        fresh_support=data.steps if fresh else 0,
        reference=convolutional and config.conv.batch_norm == "support",
        device=device,
    )
    loss = supervised_loss(spec)
    scores = {"mse": loss(algorithm.policy)}
    if spec.classifies:
        policy = algorithm.policy
        scores = {"accuracy": losses.accuracy(policy), "cross_entropy": loss(policy)}
    metric = Predictions(
        algorithm.inner,
        scores,
        chunk_size=config.tasks_per_chunk,
        fresh_support=fresh,
        note=f"{config.conv.batch_norm} batch norm" if convolutional else "",
    )
    _check_fit(family, partial(loss(models.functional(model)), models.parameters(model)))
    fingerprint = getattr(family, "fingerprint", None)
    sample = _task_law(config, family.sample)
    return Experiment(sample, sampler, model, algorithm, device, metric, spec, fingerprint)


def _check_fit(family: Family, loss: Callable[[Examples], torch.Tensor]) -> None:
    """Check that the model takes what the family gives, before anything is written.

    Raises:
        ConfigError: examples that it does not take.
    """
    try:
        tasks = family.sample(1, generator(0), split="train")
        (inputs, targets), _ = family.episode(tasks, 1, 1, generator(0))
        x, y = torch.from_numpy(inputs[0].copy()), torch.from_numpy(targets[0].copy())
        require_finite_examples(x[None], y[None], type(family).__name__)
        data = Examples(x, y)
        loss(tree.map(lambda x: x.float() if x.is_floating_point() else x, data))
    except (TypeError, ValueError, RuntimeError, IndexError) as problem:
        if type(problem) is getattr(family, "error", None) and type(problem) is not ValueError:
            raise ConfigError(str(problem)) from problem  # a file that cannot be read
        raise ConfigError(
            f"The examples of {type(family).__name__} do not fit its `inputs` {family.inputs} and "
            f"`outputs` {family.outputs}: {problem}"
        ) from problem


def _seeded(config: TrainConfig, make: Callable[[], nn.Module], stored: Meta | None) -> nn.Module:
    if stored is not None:
        _check_size(make, stored)
    seed = int(generator(config.seed, 0, Phase.INITIALIZE).integers(2**62))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with plain_defaults():
            return make()


def _check_size(make: Callable[[], nn.Module], stored: Meta) -> None:
    """Check that a network has no more numbers than are stored for it, before it takes memory.

    Whether their shapes agree is checked where they are put in.

    Raises:
        ConfigError: it has more.
    """
    there = sum(value.numel() for value in tree.leaves(stored))
    try:
        with shapes_alone():
            size = sum(value.numel() for value in make().parameters())
        said = f"{size:,}"
    except RuntimeError:  # of a tensor with more than can be counted
        size, said = math.inf, "more than 10^18"
    if size > max(there, _SMALL):
        raise ConfigError(
            f"The network that the run's settings describe has {said} parameters, and {there:,} "
            "are stored for it: they were trained with other settings or on other spaces."
        )
