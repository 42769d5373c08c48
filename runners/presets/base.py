"""Definition of a preset."""

from __future__ import annotations

from typing import NamedTuple

from rlmaml.config import TrainConfig


class Preset(NamedTuple):
    """A ready-made configuration."""

    description: str  # a line for the list of presets
    config: TrainConfig
