"""Inputs and outputs of a predictor."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rlmaml.models.text import token_count


class PredictorSpec(NamedTuple):
    """The shapes that a network for labeled examples is made for; kept in checkpoints."""

    input_shape: tuple[int, ...]  # of one input
    num_tokens: int | None  # how many token ids there are, where inputs are texts
    output_size: int  # classes, or numbers of a target
    classifies: bool  # whether targets are classes

    @classmethod
    def of_spaces(cls, inputs: gymnasium.Space, outputs: gymnasium.Space) -> PredictorSpec:
        """The shapes of a family's `inputs` and `outputs`."""
        classifies = isinstance(outputs, Discrete)
        size = int(outputs.n) if classifies else int(np.prod(outputs.shape or ()))
        return cls(tuple(inputs.shape or ()), token_count(inputs), size, classifies)

    @property
    def outputs(self) -> Discrete | Box:
        """The space of one target."""
        if self.classifies:
            return Discrete(self.output_size)
        return Box(-np.inf, np.inf, (self.output_size,))
