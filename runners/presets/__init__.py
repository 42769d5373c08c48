"""Presets: what `rlmaml train PRESET` can train, ready-made."""

from __future__ import annotations

from rlmaml import algorithms, sources
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners.presets import control, families, few_shot, maml_paper
from runners.presets.base import Preset
from runners.presets.overrides import with_algorithm

__all__ = ["PRESETS", "Preset", "get_preset", "list_presets", "with_algorithm"]

PRESETS: dict[str, Preset] = (
    control.PRESETS | families.PRESETS | maml_paper.PRESETS | few_shot.PRESETS
)


def get_preset(name: str | None) -> TrainConfig:
    """The configuration of a preset.

    Raises:
        ConfigError: an unknown name, or none.
    """
    names = ", ".join(PRESETS)
    if name is None:
        raise ConfigError(f"Name a preset ({names}), a run to --resume, or a --config to repeat.")
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}: use one of {names}.")
    return PRESETS[name].config


def list_presets() -> str:
    """List the presets, the algorithms and the policies that come with the package."""
    width = max(map(len, PRESETS))
    lines = []
    for name, (description, config) in PRESETS.items():
        data = f"{config.episodes} x {config.horizon}"
        if config.data == "examples":
            data = f"({config.examples.shots} + {config.examples.queries})"
        size = f"{config.tasks} x {data}, {config.iterations} iterations"
        lines.append(f"{name:<{width}}  {description} ({size})")
    lines += ["", f"Algorithms (--algorithm): {', '.join(algorithms.TABLE)}"]
    if names := sources.names():
        lines.append(f"Learned already (rlmaml evaluate NAME): {', '.join(names)}")
    return "\n".join(lines)
