"""Outer steps: what moves the meta-parameters, given the meta-objective and a batch.

An outer step is a frozen dataclass whose fields are its options and whose methods are those of
`OuterStep`. One of your own is one file and one row of `OUTER_STEPS`, or `module:Class`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, Protocol, TypeVar, cast, get_args

from rlmaml.errors import ConfigError
from rlmaml.lookup import find_class
from rlmaml.objective import Objective
from rlmaml.types import Meta, MetaBatch, Metrics, State, StateDict

OuterState = TypeVar("OuterState")
"""State that an outer step carries from one update to the next: momenta and the like, or None."""

OuterCapability = Literal["gradient-only", "optimizer"]
"""A capability that an algorithm may require of its outer step.

gradient-only: it follows the meta-gradient alone; it uses no curvature and judges no candidate by
its loss. optimizer: it is a `rlmaml.outer.optimizer.Optimizer`, whose `descend` takes single steps
and which has a learning rate.
"""

OUTER_CAPABILITIES: tuple[OuterCapability, ...] = get_args(OuterCapability)


class OuterStep(Protocol[OuterState]):
    """One step on the meta-parameters.

    Subclassing this protocol is not needed; the methods are.
    """

    capabilities: ClassVar[frozenset[OuterCapability]]
    """Capabilities that algorithms may build on; a class without this attribute has none."""

    def init(self, meta: Meta) -> OuterState:
        """The state before the first update."""
        ...

    def update(
        self, objective: Objective, state: State[OuterState], batch: MetaBatch
    ) -> tuple[State[OuterState], Metrics]:
        """One step from `state.meta` on a batch that was collected with it.

        Args:
            objective: the meta-objective of the algorithm.
            state: meta-parameters, and what `init` or the last update returned. It may be used
                up: go on with the state returned.
            batch: leaves [N, ...].

        Returns:
            The new state (its `iteration` is counted by the algorithm), and metrics, of which
            "outcome" is "accepted" or the reason why `meta` stayed.
        """
        ...

    def state_dict(self, state: OuterState) -> StateDict:
        """The state as tensors, numbers, strings and containers of them; a copy."""
        ...

    def load_state_dict(self, meta: Meta, saved: StateDict) -> OuterState:
        """The inverse of `state_dict`, for meta-parameters of the same shapes.

        Raises:
            KeyError, ValueError: the state of another outer step.
        """
        ...

    def validate_schedule(self, iterations: int) -> None:
        """Check before training that the step can be taken that many times.

        Raises:
            ConfigError: a schedule that ends earlier.
        """
        ...


OUTER_STEPS: dict[str, str] = {
    "trust-region": "rlmaml.outer.trust_region:TrustRegion",
    "optimizer": "rlmaml.outer.optimizer:Optimizer",
}
"""Location of each outer step; the first is the default one."""

_METHODS = ("init", "update", "state_dict", "load_state_dict", "validate_schedule")


def get_outer_step(name: str) -> type[OuterStep]:
    """The class of an outer step.

    Args:
        name: one of `OUTER_STEPS`, or `module:Class` of your own.

    Raises:
        ConfigError: an unknown name, or a class that is no frozen dataclass, lacks a method, or has
            a field without a default.
    """
    kind = find_class(OUTER_STEPS, name, "outer step")
    missing = [method for method in _METHODS if not callable(getattr(kind, method, None))]
    if missing:
        raise ConfigError(
            f"The outer step {name!r} lacks {', '.join(missing)}: write the methods of "
            "rlmaml.outer.base.OuterStep."
        )
    parameters = getattr(kind, "__dataclass_params__", None)
    if not dataclasses.is_dataclass(kind) or not getattr(parameters, "frozen", False):
        raise ConfigError(
            f"The outer step {name!r} is no frozen dataclass: decorate it with "
            "@dataclass(frozen=True), its options being its fields."
        )
    nothing = dataclasses.MISSING
    for each in dataclasses.fields(kind):
        if each.default is nothing and each.default_factory is nothing:
            raise ConfigError(f"The outer step {name!r} has no default for its {each.name}.")
    return cast(type[OuterStep], kind)


def outer_name(outer: object) -> str:
    """The name by which `get_outer_step` finds an outer step's class."""
    target = f"{type(outer).__module__}:{type(outer).__qualname__}"
    return next((name for name, each in OUTER_STEPS.items() if each == target), target)


def capabilities(outer: object) -> frozenset[str]:
    """The capabilities that an outer step declares; none if it declares nothing."""
    return frozenset(getattr(outer, "capabilities", ()))
