"""Adapt what was meta-trained, in two lines: `load(run)`, then `adapt(env)` or `adapt(x, y)`.

A run folder holds all that this needs: the parameters, the shape of the network, and how the inner
loop was set while training.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rlmaml import algorithms, losses, models, tree
from rlmaml import checkpoint as checkpoints
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.base import Algorithm, InnerConfig
from rlmaml.checkpoint import Checkpoint
from rlmaml.config import from_dict
from rlmaml.distributions import Distribution
from rlmaml.inner import adapt
from rlmaml.migration import migrate_config
from rlmaml.models.conv import ConvConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.models.text import TextConfig
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.spaces import action_filter, encoder
from rlmaml.sampling.vector_env import FixedTask, with_fixed_task
from rlmaml.types import Episodes, Examples, InputsWithStatistics, Meta, Params, Policy


def load(run: str | Path, *, checkpoint: str | Path | None = None) -> Learner:
    """What a run has meta-learned, ready to adapt.

    Args:
        run: a run folder, or a checkpoint's own folder.
        checkpoint: None is the newest, "best" the best by validation or else by training return,
            or a checkpoint's folder.

    Raises:
        CheckpointError: there is none, or it is cut or altered.
    """
    which = None if checkpoint is None else Path(checkpoint)
    place = checkpoints.locate(Path(run), which)
    return Learner(checkpoints.load(place), place)


class Learner:
    """Meta-learned parameters, and the inner loop that they were learned for. Made by `load`.

    Attributes:
        config: the run's settings, as config.json has them.
        meta: the meta-parameters.
        iteration: meta-iterations done.
    """

    def __init__(self, source: Checkpoint, path: Path) -> None:
        self.config = migrate_config(source.config)
        self.meta, self.iteration = source.meta, source.iteration
        self.path = path
        self._state = source.state
        now = self.config
        self._kind = algorithms.get_algorithm(now.get("algorithm", next(iter(algorithms.TABLE))))
        self._settings = from_dict(self._kind.Settings, now.get("algorithm_settings", {}))
        self._inner = replace(from_dict(InnerConfig, now["inner"]), hessian="support")
        self._outer = self._outer_step()
        self._network = from_dict(PolicyConfig, self.config["policy"])

    def _outer_step(self) -> TrustRegion | Optimizer:
        """As in training: a method may refuse another."""
        if self.config.get("outer") == "optimizer":
            return from_dict(Optimizer, self.config["optimizer"])
        return replace(from_dict(TrustRegion, self.config["trust_region"]), fisher_fraction=1.0)

    @property
    def supervised(self) -> bool:
        """Whether this learns from labeled examples."""
        return self.config.get("data") == "examples"

    @overload
    def adapt(
        self,
        to: gymnasium.Env | VectorEnv,
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
        to: gymnasium.Env | VectorEnv | ArrayLike,
        targets: ArrayLike | None = None,
        *,
        steps: int | None = None,
        step_size: float | None = None,
        episodes: int | None = None,
        seed: int = 0,
    ) -> AdaptedPolicy | Predictor:
        """Adapt to one task.

        Args:
            to: an environment in which the task is set: a `gymnasium.Env`, which is copied so that
                its episodes can be played at once, or a vector environment whose copies all have
                the task. After a run on examples instead the inputs, `[B, *x]`.
            targets: `[B, *y]`, or `[B]` class numbers; after a run on examples.
            steps: inner steps, 0 for none; as in training if None.
            step_size: of every step; as in training if None.
            episodes: B, to play before each step; as in training if None. A vector environment
                plays one in each copy.
            seed: of all that is drawn. For one task, `rlmaml evaluate --seed` draws the same.

        Raises:
            ValueError: other data than the run's kind, or of shapes that its network does not take.
            TypeError: an environment that cannot be copied.
            FloatingPointError: the parameters have blown up.
        """
        inner = self._inner
        if steps is not None:
            inner = replace(inner, steps=steps)
        if step_size is not None:
            if self._kind.learns_step_sizes(self._settings):
                raise ValueError(
                    f"step_size {step_size} would not replace the step sizes that "
                    f"{self._kind.__name__} has learned: leave it out."
                )
            inner = replace(inner, step_size=step_size, later_step_size=None)
        count: int = self.config["episodes"] if episodes is None else episodes
        if count < 1:
            raise ValueError(f"episodes must be at least 1, got {count}.")
        is_env = isinstance(to, gymnasium.Env | VectorEnv)
        if is_env == self.supervised or (targets is None) != is_env:
            needed = "inputs and targets" if self.supervised else "an environment"
            raise ValueError(
                f"{self.path} learned from {self.config.get('data', 'episodes')}, so it adapts to "
                f"{needed}; got {type(to).__name__} and {type(targets).__name__}."
            )
        if isinstance(to, gymnasium.Env | VectorEnv):
            return self._adapt_policy(to, inner, count, seed)
        return self._adapt_predictor(np.asarray(to), np.asarray(targets), inner)

    def _adapt_policy(
        self, env: gymnasium.Env | VectorEnv, inner: InnerConfig, episodes: int, seed: int
    ) -> AdaptedPolicy:
        copies = with_fixed_task(env, episodes)
        try:
            return self._adapt_policy_in(copies, inner, seed)
        finally:
            if copies.own:
                copies.close()

    def _adapt_policy_in(self, copies: FixedTask, inner: InnerConfig, seed: int) -> AdaptedPolicy:
        normalizer = None
        if (stored := self._state.get("normalizer")) is not None:
            normalizer = Normalizer(tuple(stored["mean"].shape))
            normalizer.load_state_dict(stored)
        observations, actions = copies.single_observation_space, copies.single_action_space
        module = models.policy_for(encoder(observations)[1], actions, self._network)
        method = self._kind(
            models.functional(module), self._as_trained(inner), self._outer, self._settings
        )
        meta = self._fitted(module, method)
        sampler = RolloutSampler(
            copies,
            method.policy,
            episodes=copies.num_envs,
            horizon=self.config["horizon"],
            support_advantages=from_dict(AdvantageConfig, self.config["inner_advantages"]),
            normalizer=normalizer,
            whole=self.config.get("batch_by") == "steps",
        )
        task = np.zeros(1)  # the environment has its own
        batch = collect(
            sampler,
            method.inner,
            meta,
            task,
            steps=inner.steps,
            key=(seed, 0, Phase.EVALUATION_ROLLOUT),
            query=False,
        )
        support: tuple[Episodes, ...] = tree.map(lambda leaf: leaf[0], batch.support)
        adapted = _finite(adapt(method.inner, meta, support)[-1], inner)
        module = _acting(method, adapted, module)
        return AdaptedPolicy(module, observations, actions, normalizer, support, seed)

    def _adapt_predictor(self, x: NDArray[Any], y: NDArray[Any], inner: InnerConfig) -> Predictor:
        if len(x) != len(y) or not len(x):
            raise ValueError(
                f"Got {len(x)} inputs and {len(y)} targets: one of each per example is needed."
            )
        outputs = self._outputs()
        classes = isinstance(outputs, gymnasium.spaces.Discrete)
        conv = from_dict(ConvConfig, self.config["conv"])
        text = from_dict(TextConfig, self.config.get("text", {}))
        module = models.predictor_for(
            x.shape[1:], outputs, self._network, conv, text, self._num_tokens()
        )
        inputs = _inputs(x, self._num_tokens())
        if classes:
            if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= outputs.n:
                raise ValueError(
                    f"Targets must be integers from 0 to {outputs.n - 1}, one per example; got "
                    f"{y.dtype} of shape {y.shape}, {y.ravel()[:5].tolist()} ..."
                )
            labels = torch.from_numpy(y.astype(np.int64))
        else:
            if y.shape[1:] != outputs.shape:
                raise ValueError(f"Targets must be [B, {outputs.shape[0]}], got shape {y.shape}.")
            labels = _floats(y)
        loss = losses.cross_entropy if classes else losses.mse
        method = self._kind(
            models.functional(module),
            self._as_trained(inner),
            self._outer,
            self._settings,
            inner_loss=loss,
            outer_loss=loss,
        )
        meta = self._fitted(module, method)
        support = Examples(inputs, labels)
        adapted = adapt(method.inner, meta, (support,) * inner.steps)[-1]
        by_support = isinstance(module, models.ConvClassifier) and conv.batch_norm == "support"
        module = _acting(method, _finite(adapted, inner), module)
        return Predictor(module, inputs if by_support else None, self._num_tokens())

    def _num_tokens(self) -> int | None:
        """How many token ids there are; None where inputs are no texts."""
        embeddings = self.meta["params"].get("words.weight")
        return None if embeddings is None else embeddings.shape[-2]  # a method may stack networks

    def _as_trained(self, inner: InnerConfig) -> InnerConfig:
        """With the K of training, which shapes what some methods learn for each step."""
        return replace(inner, steps=self._inner.steps)

    def _outputs(self) -> gymnasium.spaces.Discrete | gymnasium.spaces.Box:
        """The space of the targets, of the last layer's size; that layer's name says its kind."""
        layers = [
            name for name in self.meta["params"] if re.fullmatch(r"(mean|logits)\b.*bias", name)
        ]
        last = max(layers, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
        size = self.meta["params"][last].shape[-1]  # a method may stack several networks
        if last.startswith("logits"):
            return gymnasium.spaces.Discrete(size)
        return gymnasium.spaces.Box(-np.inf, np.inf, (size,))

    def _fitted(self, module: nn.Module, method: Algorithm) -> Meta:
        """The meta-parameters as the method has them for a network."""
        try:
            return checkpoints.fitted(self.meta, method.init_meta(models.parameters(module)))
        except ValueError as problem:
            raise ValueError(
                f"{self.path} was trained on other spaces: its parameters {problem}."
            ) from problem


class AdaptedPolicy:
    """A policy for one task, with the interfaces that Gymnasium loops and stable-baselines3 expect.

    Attributes:
        module: the network, on the CPU, from (standardized) observations to a distribution.
        normalizer: standardizes observations; None if the run did not.
        episodes: what each inner step learned from: a tuple of K `Episodes`, leaves [B, T, ...].
    """

    def __init__(
        self,
        module: nn.Module,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        normalizer: Normalizer | None = None,
        episodes: tuple[Episodes, ...] = (),
        seed: int = 0,
    ) -> None:
        self.module = module.requires_grad_(False)
        self.observation_space, self.action_space = observation_space, action_space
        self.normalizer, self.episodes = normalizer, episodes
        self._encode = encoder(observation_space)[0]
        self._to_env = action_filter(action_space)
        self._rng = generator(seed, 0, Phase.ACTING)

    @property
    def params(self) -> Params:
        """The adapted parameters φ_K."""
        return models.parameters(self.module)

    @torch.no_grad()
    def distribution(self, observations: NDArray[Any]) -> Distribution:
        """Over the actions, given observations [M, *obs]."""
        seen = torch.from_numpy(self._encode(observations))
        return self.module(seen if self.normalizer is None else self.normalizer(seen))

    def act(self, observation: ArrayLike, deterministic: bool = False) -> Any:
        """An action, drawn or the likeliest one, clipped to the action space.

        Args:
            observation: one, [*obs], or several, [M, *obs].
            deterministic: take the likeliest.

        Returns:
            [*act] or [M, *act]; of a Discrete space integers.

        Raises:
            ValueError: an observation of another shape.
        """
        given, shape = np.asarray(observation), self.observation_space.shape or ()
        several = given.ndim == len(shape) + 1
        if given.shape[several:] != shape:
            raise ValueError(
                f"The policy observes {shape} or [M, {', '.join(map(str, shape))}], got an "
                f"observation of shape {given.shape}."
            )
        policy = self.distribution(given if several else given[None])
        if deterministic:
            actions = policy.mode()
        else:
            noise = policy.noise(self._rng, policy[0].shape[:-1])
            actions = policy.sample(torch.from_numpy(noise))
        taken = self._to_env(actions.numpy())
        return taken if several else taken[0]

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """`act`, as stable-baselines3's `evaluate_policy` and `VecVideoRecorder` loops call it.

        Returns:
            The actions, and `state` as it came: the policy has none.
        """
        return self.act(observation, deterministic), state


class Predictor:
    """A regression or a classification for one task.

    Attributes:
        module: the network, on the CPU.
    """

    def __init__(
        self,
        module: nn.Module,
        reference: Tensor | None = None,
        num_tokens: int | None = None,
    ) -> None:
        self.module = module.requires_grad_(False)
        self._reference, self._num_tokens = reference, num_tokens

    @torch.no_grad()
    def distribution(self, inputs: ArrayLike) -> Distribution:
        """Over the targets, given inputs [M, *x]: a Gaussian around them, or a Categorical.

        A network with transductive batch norm sees the inputs of one call together.

        Raises:
            ValueError: the network is one of texts, and the inputs are no token ids.
        """
        x = _inputs(np.asarray(inputs), self._num_tokens)
        return self.module(
            x if self._reference is None else InputsWithStatistics(x, self._reference)
        )

    def predict(self, inputs: ArrayLike) -> NDArray[Any]:
        """Targets [M, *y], or the likeliest classes [M], of inputs [M, *x]."""
        return self.distribution(inputs).mode().numpy()

    __call__ = predict


class ManyNetworks(nn.Module):
    """The policy of adapted parameters that no single network acts like.

    Attributes:
        adapted: φ_K.
    """

    def __init__(self, policy: Policy, adapted: Params) -> None:
        super().__init__()
        self._policy = policy
        names = {name: name.replace(".", "/") for name in adapted}
        self.adapted = nn.ParameterDict({names[name]: value for name, value in adapted.items()})
        self._names = names

    def forward(self, inputs: Any) -> Distribution:
        return self._policy({name: self.adapted[key] for name, key in self._names.items()}, inputs)


def _acting(method: Algorithm, adapted: Params, module: nn.Module) -> nn.Module:
    """The network with the adapted parameters, or what stands for it where there is none."""
    network = method.network(adapted)
    if network is None:
        return ManyNetworks(method.policy, adapted)
    module.load_state_dict(network)
    return module


def _finite(params: Params, inner: InnerConfig) -> Params:
    if not all(value.isfinite().all() for value in params.values()):
        raise FloatingPointError(
            f"After {inner.steps} inner steps of size {inner.step_size} the parameters are not "
            "finite: take a smaller step_size."
        )
    return params


def _inputs(array: NDArray[Any], num_tokens: int | None) -> Tensor:
    """What a network takes: floats, or token ids below `num_tokens`."""
    if num_tokens is None:
        return _floats(array)
    known = array.dtype.kind in "iu" and (not array.size or array.min() >= 0)
    if not known or (array.size and array.max() >= num_tokens):
        raise ValueError(
            f"The network reads texts as token ids, integers from 0 to {num_tokens - 1}; got "
            f"{array.dtype} of shape {array.shape}, {array.ravel()[:5].tolist()} ... The family it "
            "learned from makes them of texts: encode(texts)."
        )
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))


def _floats(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
