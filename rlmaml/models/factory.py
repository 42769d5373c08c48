"""Networks for spaces: a policy for an environment, a predictor for labeled examples."""

from __future__ import annotations

import gymnasium
import numpy as np

from rlmaml.errors import ConfigError
from rlmaml.models.conv import ConvClassifier, ConvConfig
from rlmaml.models.mlp import (
    BernoulliMLP,
    CategoricalMLP,
    GaussianMLP,
    MultiCategoricalMLP,
    PolicyConfig,
    RegressionMLP,
)
from rlmaml.models.text import BagOfEmbeddings, TextConfig, TextTransformer


def policy_for(
    observation_shape: tuple[int, ...], actions: gymnasium.Space, config: PolicyConfig
) -> GaussianMLP | CategoricalMLP | MultiCategoricalMLP | BernoulliMLP:
    """The policy network for observations of a shape and an action space.

    Raises:
        ConfigError: observations that are no vectors, or a Box of actions that are none.
    """
    size = _length(observation_shape)
    if isinstance(actions, gymnasium.spaces.Discrete):
        return CategoricalMLP(size, int(actions.n), config)
    if isinstance(actions, gymnasium.spaces.MultiDiscrete):
        return MultiCategoricalMLP(size, actions.nvec.ravel().tolist(), config)
    if isinstance(actions, gymnasium.spaces.MultiBinary):
        return BernoulliMLP(size, int(np.prod(actions.shape)), config)
    if actions.shape is None or len(actions.shape) != 1:
        raise ConfigError(
            f"The built-in networks act in vectors, but the environment's actions {actions} are of "
            f"shape {actions.shape}. Wrap it (gymnasium.wrappers.TransformAction, as "
            "FlattenObservation for observations) or use the Python API with your own module."
        )
    return GaussianMLP(size, actions.shape[0], config)


def predictor_for(
    input_shape: tuple[int, ...] | None,
    outputs: gymnasium.Space,
    config: PolicyConfig,
    conv: ConvConfig,
    text: TextConfig | None = None,
    num_tokens: int | None = None,
) -> RegressionMLP | CategoricalMLP | ConvClassifier | BagOfEmbeddings | TextTransformer:
    """The network for labeled examples: images [C, height, width] or texts to classes, or vectors.

    Args:
        input_shape: of one input.
        outputs: Discrete where targets are classes, otherwise a Box of them.
        config: of the network for vectors.
        conv: of that for images.
        text: of that for texts.
        num_tokens: where inputs are token ids, how many there are (`text.token_count`).

    Raises:
        ConfigError: inputs that are neither vectors nor images or texts to be classified.
    """
    if num_tokens is not None:
        if not isinstance(outputs, gymnasium.spaces.Discrete):
            raise ConfigError(
                f"Token ids are for classification, but the outputs are {outputs}: make them a "
                "Discrete, or the inputs floats."
            )
        text = text or TextConfig()
        if text.model == "bag":
            return BagOfEmbeddings(num_tokens, int(outputs.n), text)
        return TextTransformer(num_tokens, _length(input_shape), int(outputs.n), text)
    if not isinstance(outputs, gymnasium.spaces.Discrete):
        return RegressionMLP(_length(input_shape), _length(outputs.shape), config)
    if input_shape is not None and len(input_shape) == 3:
        return ConvClassifier(input_shape, int(outputs.n), conv)
    return CategoricalMLP(_length(input_shape), int(outputs.n), config)


def _length(shape: tuple[int, ...] | None) -> int:
    if shape is None or len(shape) != 1:
        raise ConfigError(
            "The built-in networks take and give vectors, but the environment has a space of shape "
            f"{shape}. Wrap it (gymnasium.wrappers.FlattenObservation) or use the Python API with "
            "your own module."
        )
    return shape[0]
