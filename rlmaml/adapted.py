"""The result of adaptation: a policy, or a predictor, for one task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rlmaml.distributions import Distribution
from rlmaml.rng import Phase, generator
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.spaces import action_filter, encoder, one_or_several
from rlmaml.torch_state import making_tensors
from rlmaml.types import Episodes, InputsWithStatistics, Params, Policy


class AdaptedPolicy:
    """A policy for one task, with the interfaces that Gymnasium loops and stable-baselines3 expect.

    Attributes:
        module: the network, on the CPU, from (standardized) observations to a distribution.
        normalizer: standardizes observations; None if the run did not.
        rescale_actions: whether its actions are scaled from [-1, 1] to the action space.
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
        *,
        rescale_actions: bool = False,
    ) -> None:
        self._adapted = _adapting(module)
        self.module = module.requires_grad_(False)
        self.observation_space, self.action_space = observation_space, action_space
        self.normalizer, self.episodes = normalizer, episodes
        self.rescale_actions = rescale_actions
        self._rng = generator(seed, 0, Phase.ACTING)
        self._connect()

    def _connect(self) -> None:
        """Make the functions that the spaces decide, which do not pickle."""
        self._encode = encoder(self.observation_space)[0]
        self._to_env = action_filter(self.action_space, self.rescale_actions)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_encode", "_to_env")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()

    @property
    def params(self) -> Params:
        """The adapted parameters φ_K; frozen ones are constants of the module."""
        values = dict(self.module.named_parameters())
        return {name: values[name].detach().clone() for name in self._adapted}

    @making_tensors
    def distribution(self, observations: Any) -> Distribution:
        """Over the actions, given observations [M, *obs], of a Dict or Tuple such of each part.

        Where actions are scaled, it is over those before.
        """
        seen = torch.from_numpy(self._encode(observations))
        return self.module(seen if self.normalizer is None else self.normalizer(seen))

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """An action, drawn or the likeliest one, clipped to the action space.

        Args:
            observation: one, [*obs], or several, [M, *obs]; of a Dict or a Tuple a dictionary or
                a tuple of such, as Gymnasium has them.
            deterministic: take the likeliest.

        Returns:
            [*act] or [M, *act]; of spaces that count integers.

        Raises:
            ValueError: an observation of another shape.
        """
        given, several = one_or_several(self.observation_space, observation)
        policy = self.distribution(given)
        if deterministic:
            actions = policy.mode()
        else:
            count = policy[0].shape[0]
            noise = policy.noise(self._rng, (count,))
            actions = policy.sample(torch.from_numpy(noise))
        taken = self._to_env(actions.numpy())
        return taken if several else taken[0]

    def predict(
        self,
        observation: Any,
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

    @making_tensors
    def distribution(self, inputs: ArrayLike) -> Distribution:
        """Over the targets, given inputs [M, *x]: a Gaussian around them, or a Categorical.

        A network with transductive batch norm sees the inputs of one call together.

        Raises:
            ValueError: the network is one of texts, and the inputs are no token ids.
        """
        x = as_inputs(np.asarray(inputs), self._num_tokens)
        return self.module(
            x if self._reference is None else InputsWithStatistics(x, self._reference)
        )

    def predict(self, inputs: ArrayLike) -> NDArray[Any]:
        """Targets [M, *y], or the likeliest classes [M], of inputs [M, *x]."""
        return self.distribution(inputs).mode().numpy()

    __call__ = predict


class StackedNetworks(nn.Module):
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


def _adapting(module: nn.Module) -> list[str]:
    """The names of a module's parameters that are not frozen, or of all if all are."""
    named = list(module.named_parameters())
    return [name for name, value in named if value.requires_grad] or [name for name, _ in named]


def as_inputs(array: NDArray[Any], num_tokens: int | None) -> Tensor:
    """A network's input as a tensor: floats, or token ids below `num_tokens`."""
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
