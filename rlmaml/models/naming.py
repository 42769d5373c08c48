"""Facts read from names of parameters: the norms, the layers, and which layer is the last."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rlmaml.errors import ConfigError
from rlmaml.types import Params


def norm_parameters(params: Params) -> list[str]:
    """The names of scales and shifts of normalization: of modules called norm, bn2 or the like."""
    pattern = r"(.*[._])?(batch_?)?(norm|bn)_?\d*\.(weight|bias)"
    return [name for name in params if re.fullmatch(pattern, name, re.IGNORECASE)]


def layers(params: Iterable[str]) -> list[str]:
    """The layers that make the outputs, the last one last: "mean.0", "mean.2", or just "logits".

    By their names, since the order of parameters does not survive a checkpoint: the layers of
    `mean` or `logits`, as the networks here call them, otherwise all. They must be numbered.
    Frozen layers do not count, not being among the parameters.

    Args:
        params: parameters by name.

    Raises:
        ConfigError: names that do not tell.
    """
    names = [name.removesuffix(".weight") for name in params if name.endswith(".weight")]
    names = [layer for layer in names if layer.split(".")[0] in ("mean", "logits")] or names
    if len({re.sub(r"\d+", "#", layer) for layer in names}) != 1:
        raise ConfigError(
            f"The names of the parameters ({', '.join(params)}) do not tell which layer is the "
            "first and which the last: name the parameters that are meant in algorithm_settings."
        )
    return sorted(names, key=lambda layer: [int(part) for part in re.findall(r"\d+", layer)])


def unit_axis(name: str) -> int:
    """The axis of a parameter along which its units lie: of embeddings of words and places the
    last, of weights (and of a norm's scales) the first."""
    return -1 if name in ("words.weight", "places") else 0


def head(params: Iterable[str], prefixes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names of the last layer's parameters, or of those that `prefixes` name.

    A Gaussian's `log_std` is of the last layer: like it, it makes outputs of what is before.

    Args:
        params: parameters by name.
        prefixes: names, whole or up to a dot.

    Raises:
        ConfigError: a prefix of no parameter, or names that do not tell which layer is the last.
    """

    def under(prefix: str) -> list[str]:
        return [name for name in params if name == prefix or name.startswith(prefix + ".")]

    for prefix in prefixes:
        if not under(prefix):
            raise ConfigError(
                f"There is no parameter {prefix!r}: use {', '.join(params)}, or one of these up to "
                "a dot."
            )
    chosen = prefixes or (layers(params)[-1], "log_std")
    return tuple(name for name in params if any(name in under(prefix) for prefix in chosen))
