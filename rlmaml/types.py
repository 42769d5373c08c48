"""The data that flows through the library: immutable, a shape beside every field.

Letters: N tasks, B episodes per task, T time steps, K inner steps (docs/notation.md).
A function of the library sees one task, so the shapes here have no N; stacked over tasks,
every leaf gains a leading [N].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor

from rlmaml.distributions import Distribution

Params = dict[str, Tensor]
"""Parameters of a model by name, as `torch.nn.Module.named_parameters` gives them."""

Meta = dict[str, Params]
"""What meta-training learns: {"params": initial parameters} and, for some methods, more."""

Data = Any
"""A tree of tensors that only losses look into: Episodes in reinforcement learning."""


class Episodes(NamedTuple):
    """B episodes of one task, padded to T steps."""

    observations: Tensor  # [B, T, *obs]
    actions: Tensor  # [B, T, *act]  as drawn: the sampler clips only what the environment sees
    rewards: Tensor  # [B, T]  0 on padding
    log_probs: Tensor  # [B, T]  of the unclipped action, under the policy that acted
    values: Tensor  # [B, T]  the baseline's predictions
    advantages: Tensor  # [B, T]  0 on padding
    mask: Tensor  # [B, T]  1 while the episode lasts, 0 on padding and on a diverged step
    terminated: Tensor  # [B]  1 at a true end; a time limit or a divergence is a truncation
    final_observations: Tensor  # [B, *obs]  where the episode ended, for bootstrapping
    diagnostics: dict[str, Tensor]  # {name: [B, T]}  what the environment reports, and "diverged"


class MetaBatch(NamedTuple):
    """What one meta-update learns from; every leaf has a leading [N]."""

    support: tuple[Data, ...]  # K entries: entry k was sampled with φ_k
    query: Data  # sampled with φ_K


Path = tuple[Params, ...]
"""φ_0 .. φ_K: a task's parameters before, during and after adaptation."""


class InnerLoop(NamedTuple):
    """How a task's parameters are made from the meta-parameters."""

    start: Callable[[Meta], Params]
    step: Callable[[Meta, Params, Data, int], Params]  # (meta, φ_k, support[k], k) -> φ_{k+1}


Adjoint = Callable[[InnerLoop, Meta, tuple[Data, ...]], Path]
"""`adapt` with a rule for its derivative with respect to the meta-parameters."""

Role = Literal["support", "query"]
"""What data are for: an inner step, or the outer loss."""

Policy = Callable[[Params, Tensor], Distribution]
"""(parameters, observations [..., *obs]) -> distribution over actions [...]."""

Metrics = dict[str, Any]
"""Numbers, strings and lists of numbers by name: one line of metrics.jsonl."""
