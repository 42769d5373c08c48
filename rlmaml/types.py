"""The data that flows through the library: immutable, a shape beside every field.

Letters: N tasks, B episodes per task, T time steps, K inner steps (docs/notation.md).
A function of the library sees one task, so the shapes here have no N; stacked over tasks,
every leaf gains a leading [N].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.distributions import Distribution

Params = dict[str, Tensor]
"""Parameters of a model by name, as `torch.nn.Module.named_parameters` gives them."""

Meta = dict[str, Params]
"""The meta-parameters: {"params": initial parameters} and, for some algorithms, more."""

Data = Any
"""A tree of tensors that only losses look into: Episodes in reinforcement learning, Examples in
supervised learning. The trust region also wants `inputs`, `mask` and `spread(fraction)` of the
query set, and `part(fraction)` of episodes."""


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

    @property
    def inputs(self) -> Tensor:
        """Inputs of the model, [B, T, *obs]."""
        return self.observations

    def part(self, fraction: float) -> Episodes:
        """The first of one task's episodes, at least one. Episodes are exchangeable. Of padding,
        which comes last, rows count too: a task with such gives a larger share of its own."""
        return tree.map(lambda leaf: leaf[: _share(fraction, len(self.mask))], self)

    def spread(self, fraction: float) -> tuple[Tensor, Tensor]:
        """A share of one task's inputs, far apart in time, which tell more than neighbors do.

        As many of each episode as of any other; where that is not a whole number, one more of each
        of fewer episodes. Later episodes begin elsewhere between two of their choices than the
        first, so that all times are chosen.

        Returns:
            inputs [b, t, *obs] and their mask [b, t].
        """
        episodes, horizon = self.mask.shape
        steps = _share(fraction, horizon)
        device = self.mask.device
        count = _share(min(1.0, fraction * horizon / steps), episodes)
        rows = torch.arange(count, device=device)[:, None]
        phase = (rows * _GOLDEN) % 1
        times = ((torch.arange(steps, device=device) + phase) * (horizon / steps)).long()
        times = times.clamp(max=horizon - 1)  # where rounding leads past the end
        return self.inputs[rows, times], self.mask[rows, times]


class InputsWithStatistics(NamedTuple):
    """Inputs to a model with batch norm whose statistics are to come from other inputs."""

    inputs: Tensor  # [B, *x]
    reference: Tensor  # [R, *x]


Inputs = Tensor | InputsWithStatistics
"""Inputs of a model, [..., *x]."""


class Examples(NamedTuple):
    """B labeled examples of one task: episodes of length 1, the target being the best action."""

    inputs: Inputs  # [B, *x]
    targets: Tensor  # [B, *y]; of a classification [B], class numbers

    @property
    def plain_inputs(self) -> Tensor:
        """Inputs without the reference of `InputsWithStatistics`, [B, *x]."""
        return self.inputs.inputs if isinstance(self.inputs, InputsWithStatistics) else self.inputs

    @property
    def mask(self) -> Tensor:
        """All ones, [B]: no example is padding. Of one task, not stacked."""
        inputs = self.plain_inputs
        # A mask weights losses; of token ids it would be integers.
        dtype = inputs.dtype if inputs.is_floating_point() else torch.float32
        return inputs.new_ones(inputs.shape[:1], dtype=dtype)

    def part(self, fraction: float) -> Examples:
        """The first of one task's examples, at least one. Classes take turns, so a multiple of
        their number is balanced. The reference of `InputsWithStatistics` inputs stays whole."""
        count = _share(fraction, len(self.targets))
        inputs = self.inputs
        if isinstance(inputs, InputsWithStatistics):
            return Examples(inputs._replace(inputs=inputs.inputs[:count]), self.targets[:count])
        return Examples(inputs[:count], self.targets[:count])

    def spread(self, fraction: float) -> tuple[Inputs, Tensor]:
        """Inputs of `part(fraction)`, and their mask: examples have no times."""
        part = self.part(fraction)
        return part.inputs, part.mask


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count))


_GOLDEN = 0.6180339887498949  # whose multiples, modulo 1, are spread evenly however many they are


Iterates = tuple[Params, ...]
"""φ_0 .. φ_K: a task's parameters before, during and after adaptation."""


class MetaBatch(NamedTuple):
    """The data that one meta-update learns from; every leaf has a leading [N]."""

    support: tuple[Data, ...]  # K entries: entry k was sampled with φ_k
    query: Data  # sampled with φ_K
    hessian: tuple[Data, ...] = ()  # K more like `support`, where the Jacobian has data of its own
    credit: Tensor | tuple[()] = ()  # scalar: what a task's inner data are credited with (E-MAML)
    iterates: Iterates = ()  # φ_0 .. φ_K that sampled; empty where data do not depend on them
    before: Data | tuple[()] = ()  # of φ_0, for the outer loss; empty where that is of φ_K alone


class InnerLoop(NamedTuple):
    """The inner loop: how a task's parameters are made from the meta-parameters."""

    start: Callable[[Meta], Params]
    step: Callable[[Meta, Params, Data, int], Params]  # (meta, φ_k, support[k], k) -> φ_{k+1}


class Adjoint(Protocol):
    """`adapt` with a rule for its derivative with respect to the meta-parameters.

    `hessian`: data for the derivative of each inner step, where they are not its `support`.
    """

    def __call__(
        self,
        inner: InnerLoop,
        meta: Meta,
        support: tuple[Data, ...],
        hessian: tuple[Data, ...] = (),
        /,
    ) -> Iterates: ...


Role = Literal["support", "hessian", "query"]
"""The use of data: an inner step, the derivative of one, or the outer loss."""

Policy = Callable[[Params, Inputs], Distribution]
"""(parameters, inputs [..., *obs]) -> distribution over actions [...]. A regression is a Gaussian
of standard deviation 1 over targets, a classification a Categorical over classes."""

StateDict = dict[str, Any]
"""Tensors, numbers, strings and containers of them by name: what a checkpoint can hold."""

Metrics = dict[str, Any]
"""Numbers, strings and lists of numbers by name: one line of metrics.jsonl."""


Carried = TypeVar("Carried")


class State(NamedTuple, Generic[Carried]):
    """The state that an algorithm carries from one meta-update to the next."""

    meta: Meta
    outer: Carried  # the outer step's own: momenta and the like, or None
    iteration: int = 0  # updates done
