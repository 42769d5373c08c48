"""One pass through a network where several want the same outputs of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from rlmaml.distributions import Distribution
from rlmaml.types import Inputs, Params, Policy

_Seen = list[tuple[Policy, Params, Inputs, bool, Distribution]]
_seen: ContextVar[_Seen | None] = ContextVar("_seen", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Have each policy of `remembered` compute a distribution once in here.

    The outer loss and the divergence from the sampling policy want that of the same parameters and
    inputs, and a pass through the network is most of what either costs.
    """
    token = _seen.set([])
    try:
        yield
    finally:
        _seen.reset(token)


def remembered(policy: Policy) -> Policy:
    """The policy, which inside `remembering` answers the same question once.

    The same are parameters and inputs that are the same objects, since those are not written to,
    with gradients to come back through the answer or without.
    """

    def answer(params: Params, inputs: Inputs) -> Distribution:
        seen = _seen.get()
        if seen is None:
            return policy(params, inputs)
        recorded = torch.is_grad_enabled()
        for whose, of, on, how, known in seen:
            if whose is policy and of is params and on is inputs and how == recorded:
                return known
        found = policy(params, inputs)
        seen.append((policy, params, inputs, recorded, found))
        return found

    return answer
