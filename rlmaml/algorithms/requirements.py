"""Requirements of algorithms, and the refusal where one is not met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rlmaml.errors import ConfigError
from rlmaml.outer.base import OuterCapability, capabilities, outer_name

Requirement = Literal[
    "episodes", "optimizer", "gradient-only", "support-hessian", "default-outer-loss"
]
"""A thing that an algorithm may require, a key of `Algorithm.requires`.

episodes: data are episodes, not labeled examples. optimizer, gradient-only: the outer step has
that capability (`rlmaml.outer.base.OuterCapability`). support-hessian: `inner.hessian support`.
default-outer-loss: `outer_loss` is not given.
"""

Requires = Mapping[Requirement, str]
"""Requirements with the reason that a refusal gives: a clause that ends in a full stop."""

STEP_SIZE_NEEDS_SUPPORT = (
    "the derivative of a step by its learned size is the gradient that it went down, and data of "
    "their own would put another in its place."
)
"""The reason why algorithms that learn step sizes require "support-hessian"."""


def require_outer(
    outer: object, capability: OuterCapability, name: str, reason: str, also: str = ""
) -> None:
    """Refuse an outer step without a capability.

    Args:
        outer: the outer step.
        capability: what it must have.
        name: whose requirement it is, at the head of the message.
        reason: why; a clause that ends in a full stop.
        also: what else could be taken than an optimizer.

    Raises:
        ConfigError: an outer step without it.
    """
    if capability not in capabilities(outer):
        raise ConfigError(
            f"{name} does not go with outer {outer_name(outer)}: {reason} Take outer optimizer (in "
            f"Python, outer=Optimizer()){also and ' or '}{also}."
        )
