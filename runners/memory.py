"""Memory that a run needs at the least, before any of it is taken; and what it took."""

from __future__ import annotations

import os
import resource
import sys
from itertools import pairwise

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError

_STEP, _EXAMPLE, _COPY = 24, 8, 500
"""Bytes of a time step, an example and a copy of an environment, of the smallest there are."""


def peak_memory() -> float:
    """The most memory that this process has held, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform != "darwin" else 1024**3)


def check_memory(config: TrainConfig, tasks: int | None = None) -> None:
    """Check that a run's data and network can be held here at all.

    What it needs is estimated from below, so that nothing is refused that would work.

    Args:
        config: the run.
        tasks: N, where it is measured on another number of tasks.

    Raises:
        ConfigError: more than the machine has.
    """
    count = tasks or config.tasks
    batches = config.inner.steps + 1
    if config.data == "episodes":
        what = "time steps"
        # Of which a machine holds its processes' share.
        count = count * processes.per_host() // processes.size() or 1
        copies = count * config.episodes
        data = copies * (config.horizon * batches * _STEP + _COPY)
    else:
        what = "examples"
        data = count * (config.examples.shots + config.examples.queries) * _EXAMPLE
    network = 8 * _parameters(config)  # and their gradient
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if data > there:
        raise ConfigError(
            f"The {what} of {count} tasks need at least {_gib(data)}, and this machine has "
            f"{_gib(there)}: take fewer tasks, or less of each."
        )
    if network > there:
        raise ConfigError(
            f"The network needs at least {_gib(network)}, and this machine has {_gib(there)}: make "
            "its layers narrower."
        )


def _parameters(config: TrainConfig) -> int:
    """Numbers between the hidden layers of the largest network that a run might have."""
    text, conv = config.text, config.conv
    if config.data == "episodes":
        return _between(config.policy.hidden)
    block = 4 * text.dimension**2 + 2 * text.dimension * text.feedforward
    return min(
        _between(config.policy.hidden),
        _between((text.dimension, *text.hidden)) if text.model == "bag" else text.layers * block,
        (conv.blocks - 1) * 9 * conv.filters**2,
    )


def _between(widths: tuple[int, ...]) -> int:
    return sum(one * other for one, other in pairwise(widths)) + sum(widths)


def _gib(size: int) -> str:
    return f"{size / 2**30:,.0f} GiB"
