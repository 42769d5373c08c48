"""Outer steps of one's own."""

from dataclasses import dataclass

from rlmaml import tree
from rlmaml.objective import meta_gradient


@dataclass(frozen=True)
class Plain:
    """A step down the meta-gradient."""

    rate: float = 0.1
    """Its size."""

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError("rate must not be negative")

    def init(self, meta):
        return None

    def update(self, objective, state, batch):
        _, gradient = meta_gradient(objective, state.meta, batch)
        theta, unravel = tree.ravel(state.meta)
        return state._replace(meta=unravel(theta - self.rate * gradient)), {"outcome": "accepted"}

    def state_dict(self, state):
        return {}

    def load_state_dict(self, meta, saved):
        return None

    def validate_schedule(self, iterations):
        return None


@dataclass(frozen=True, kw_only=True)
class Demanding(Plain):
    """One with a field that has no default."""

    name: str
