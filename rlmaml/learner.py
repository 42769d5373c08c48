"""Adapt what was meta-trained, in two lines: `load(run)`, then `adapt(env)` or `adapt(x, y)`.

A run folder holds all that this needs: the parameters, and the configuration that they were learned
with. What is built of it is built as in training (`rlmaml.build`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import overload

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike
from torch import Tensor, nn

from rlmaml import checkpoint as checkpoints
from rlmaml import models, tree
from rlmaml.adapted import AdaptedPolicy, Predictor, StackedNetworks, as_inputs
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.build import build, build_algorithm, build_predictor
from rlmaml.checkpoint import Checkpoint
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.migration import predictor_spec
from rlmaml.models.spec import PredictorSpec
from rlmaml.rng import Phase
from rlmaml.sampling.collect import collect
from rlmaml.sampling.fixed_task import FixedTask, with_fixed_task
from rlmaml.trust import reading, trusting
from rlmaml.types import Episodes, Examples, Meta, Params


def load(run: str | Path, *, checkpoint: str | Path | None = None, trust: bool = False) -> Learner:
    """Load what a run has meta-learned, ready to adapt.

    Args:
        run: a run folder, or a checkpoint's own folder; `hf://USER/NAME`, with `@REVISION` if it is
            not the newest, of the Hugging Face Hub; or the name of a policy that comes with the
            package.
        checkpoint: None is the newest, "best" the best by validation or else by training return,
            or a checkpoint's folder.
        trust: import the modules outside this package that the run names, of its algorithm, outer
            step and environment. Those that are imported already are taken in any case.

    Raises:
        CheckpointError: a checkpoint that is missing, cut or altered.
        UntrustedError: a run that names a module that is not imported.
        ConfigError: a name of no run, or one that cannot be downloaded.
    """
    which = None if checkpoint is None else Path(checkpoint)
    path = checkpoints.locate(Path(run), which)
    with trusting(trust):
        return Learner(checkpoints.load(path), path)


class Learner:
    """Meta-learned parameters, and the inner loop that they were learned for. Made by `load`.

    Attributes:
        config: the run's configuration.
        meta: the meta-parameters.
        iteration: meta-iterations done.
        path: the checkpoint's folder.
    """

    def __init__(self, source: Checkpoint, path: Path) -> None:
        with reading(path / checkpoints.MANIFEST):
            self.config = TrainConfig.from_dict(source.config)
        self.meta, self.iteration = source.meta, source.iteration
        self.path = path
        self._normalizer: dict[str, Tensor] | None = source.state.get("normalizer")
        self._spec: PredictorSpec | None = None
        if self.supervised:
            self._spec = predictor_spec(source.state.get("predictor"), self.meta)

    @property
    def supervised(self) -> bool:
        """True if this learns from labeled examples."""
        return self.config.data == "examples"

    @overload
    def adapt(
        self,
        to: gymnasium.Env | VectorEnv | Callable[[], gymnasium.Env],
        targets: None = None,
        *,
        steps: int | None = None,
        step_size: float | None = None,
        episodes: int | None = None,
        seed: int = 0,
    ) -> AdaptedPolicy: ...

    @overload
    def adapt(
        self,
        to: ArrayLike,
        targets: ArrayLike,
        *,
        steps: int | None = None,
        step_size: float | None = None,
    ) -> Predictor: ...

    def adapt(
        self,
        to: gymnasium.Env | VectorEnv | Callable[[], gymnasium.Env] | ArrayLike,
        targets: ArrayLike | None = None,
        *,
        steps: int | None = None,
        step_size: float | None = None,
        episodes: int | None = None,
        seed: int = 0,
    ) -> AdaptedPolicy | Predictor:
        """Adapt to one task.

        Args:
            to: an environment in which the task is set: a `gymnasium.Env`, or a function that makes
                one at each call (they are closed afterwards), or a vector environment whose copies
                all have the task. Episodes are played at once in copies where those are sure to be
                worlds of their own with the same task; otherwise one after another in the
                environment itself, which is to be reset then.
                After a run on examples instead the inputs, `[B, *x]`.
            targets: `[B, *y]`, or `[B]` class numbers; after a run on examples.
            steps: inner steps, 0 for none; as in training if None.
            step_size: of every step, before `inner.later_step_share` shortens those beyond the K of
                training; as in training if None.
            episodes: B, to play before each step; as in training if None. A vector environment
                plays one in each copy.
            seed: of all that is drawn. For one task, `rlmaml evaluate --seed` draws the same.

        Raises:
            ValueError: data of another kind than the run's, of shapes that its network does not
                take, or examples that are not finite.
            TypeError: a function that makes no environment.
            EnvironmentFault: rewards or observations that are not finite.
            FloatingPointError: parameters that have blown up.
        """
        config = self._with_step_size(step_size)
        inner = config.inner if steps is None else replace(config.inner, steps=steps)
        count = config.episodes if episodes is None else episodes
        if count < 1:
            raise ValueError(f"episodes must be at least 1, got {count}.")
        is_env = isinstance(to, gymnasium.Env | VectorEnv) or callable(to)
        if is_env == self.supervised or (targets is None) != is_env:
            needed = "inputs and targets" if self.supervised else "an environment"
            raise ValueError(
                f"{self.path} learned from {config.data}, so it adapts to {needed}; got "
                f"{type(to).__name__} and {type(targets).__name__}."
            )
        if isinstance(to, gymnasium.Env | VectorEnv) or callable(to):
            with with_fixed_task(to, count) as copies:
                return self._adapt_policy(config, copies, inner, seed)
        return self._adapt_predictor(config, np.asarray(to), np.asarray(targets), inner)

    def _with_step_size(self, step_size: float | None) -> TrainConfig:
        """The run's configuration, with another size of the inner steps if one is given."""
        config = self.config
        if step_size is None:
            return config
        if config.algorithm_class.learns_step_sizes(config.algorithm_settings):
            raise ValueError(
                f"step_size {step_size} would not replace the step sizes that "
                f"{config.algorithm} has learned: leave it out."
            )
        return config.changed({"inner.step_size": step_size})

    def _adapt_policy(
        self, config: TrainConfig, copies: FixedTask, inner: InnerConfig, seed: int
    ) -> AdaptedPolicy:
        # With the K of training, which shapes what some algorithms learn for each step.
        config = replace(config, device="cpu", sampling_device="cpu")
        experiment = build(config, copies, tasks=1, stored=self.meta)
        algorithm, normalizer = experiment.algorithm, experiment.normalizer
        if normalizer is not None:
            if self._normalizer is None:
                raise ConfigError(
                    f"{self.path} was trained with observation statistics, by its settings "
                    "(normalize_observations), and holds none: take a checkpoint that does."
                )
            try:
                normalizer.load_state_dict(self._normalizer)
            except ValueError as problem:
                raise ConfigError(
                    f"{self.path} was trained on other spaces: of its observation statistics "
                    f"{problem}."
                ) from problem
        meta = self._fitted(experiment.params, algorithm)
        batch = collect(
            experiment.sampler,
            algorithm.inner,
            meta,
            np.zeros(1),  # the environment has its own task
            steps=inner.steps,
            key=(seed, 0, Phase.EVALUATION_ROLLOUT),
            query=False,
        )
        support: tuple[Episodes, ...] = tree.map(lambda leaf: leaf[0], batch.support)
        adapted = _finite(tree.map(lambda leaf: leaf[0], batch.iterates[-1]), inner)
        network = _network(algorithm, adapted, experiment.model)
        spaces = copies.single_observation_space, copies.single_action_space
        scaled = config.env.rescale_actions
        return AdaptedPolicy(network, *spaces, normalizer, support, seed, rescale_actions=scaled)

    def _adapt_predictor(
        self, config: TrainConfig, x: np.ndarray, y: np.ndarray, inner: InnerConfig
    ) -> Predictor:
        assert self._spec is not None
        if len(x) != len(y) or not len(x):
            raise ValueError(
                f"Got {len(x)} inputs and {len(y)} targets: one of each per example is needed."
            )
        if x.ndim < 2:
            raise ValueError(
                f"Inputs must be [B, *x], a row for each example; got shape {x.shape}."
            )
        spec = self._spec._replace(input_shape=x.shape[1:])
        module = build_predictor(config, spec, self.meta)
        inputs = as_inputs(x, spec.num_tokens)
        algorithm = build_algorithm(config.for_evaluation(), module, spec)
        meta = self._fitted(models.parameters(module), algorithm)
        targets = _targets(y, spec)
        if not all(torch.isfinite(given).all() for given in (inputs, targets)):
            raise ValueError("Some of the inputs or targets are not finite: leave those out.")
        support = Examples(inputs, targets)
        adapted = adapt(algorithm.inner, meta, (support,) * inner.steps)[-1]
        by_support = (
            isinstance(module, models.ConvClassifier) and config.conv.batch_norm == "support"
        )
        network = _network(algorithm, _finite(adapted, inner), module)
        return Predictor(network, inputs if by_support else None, spec.num_tokens)

    def _fitted(self, params: Params, algorithm: Algorithm) -> Meta:
        """The meta-parameters as the algorithm has them for a network."""
        try:
            return checkpoints.fitted(self.meta, algorithm.init_meta(params))
        except ValueError as problem:
            raise ConfigError(
                f"{self.path} was trained on other spaces: its parameters {problem}."
            ) from problem


def _network(algorithm: Algorithm, adapted: Params, module: nn.Module) -> nn.Module:
    """The network with the adapted parameters, or what stands for it where no single one does."""
    network = algorithm.network(adapted)
    if network is None:
        return StackedNetworks(algorithm.policy, adapted)
    module.load_state_dict({**module.state_dict(), **network})  # frozen ones are the module's
    return module


def _targets(y: np.ndarray, spec: PredictorSpec) -> Tensor:
    """Targets as a network's loss takes them.

    Raises:
        ValueError: class numbers that are none, or targets of another shape.
    """
    size = spec.output_size
    if not spec.classifies:
        if y.shape[1:] != (size,):
            raise ValueError(f"Targets must be [B, {size}], got shape {y.shape}.")
        return torch.from_numpy(np.ascontiguousarray(y, dtype=np.float32))
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= size:
        raise ValueError(
            f"Targets must be integers from 0 to {size - 1}, one per example; got "
            f"{y.dtype} of shape {y.shape}, {y.ravel()[:5].tolist()} ..."
        )
    return torch.from_numpy(y.astype(np.int64))


def _finite(params: Params, inner: InnerConfig) -> Params:
    if not all(value.isfinite().all() for value in params.values()):
        raise FloatingPointError(
            f"After {inner.steps} inner steps of size {inner.step_size} the parameters are not "
            "finite: take a smaller step_size."
        )
    return params
