"""The meta-objective: the only `vmap` over tasks, the only mean over tasks.

    F(θ) = mean_i L_i(φ_i(θ), D'_i),   φ_i(θ) = adapt(θ, D_i)

or, in some algorithms, another loss of the iterates from θ to φ_i. Below this file functions see
one task; above it they see F, its gradient, the divergence between adapted policies and its
curvature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from rlmaml import processes, tree
from rlmaml.adjoints import anchored
from rlmaml.distributions import Distribution, fisher, kl, like
from rlmaml.inner import adapt
from rlmaml.profiling import timer
from rlmaml.remembering import asked
from rlmaml.returns import masked_mean
from rlmaml.torch_state import differentiating
from rlmaml.types import (
    Adjoint,
    Data,
    Episodes,
    InnerLoop,
    Iterates,
    Meta,
    MetaBatch,
    Params,
    Policy,
)

OuterLoss = Callable[[Iterates, MetaBatch], Tensor]
"""(φ_0 .. φ_K, one task's data) -> scalar."""


class Objective(NamedTuple):
    """An algorithm as a meta-update needs to know it."""

    inner: InnerLoop
    adjoint: Adjoint
    outer_loss: OuterLoss
    policy: Policy
    chunk_size: int | None = None  # tasks per stacked computation; None: all at once
    curvature: Adjoint | None = None  # in place of `adjoint`, for the trust region's curvature


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Noted = TypeVar("Noted")


def over_tasks(
    function: Callable[Arguments, Result], chunk_size: int | None = None
) -> Callable[Arguments, Result]:
    """Apply a function of one task to all: every leaf of its arguments gains a leading [N].

    Args:
        function: of one task, to a tree of tensors (`rlmaml.tree`: dicts and tuples, no lists).
        chunk_size: tasks per stacked computation; None: all at once. With 1 a task is computed
            as it is, without `vmap`, whose copies cost as much as they save where one task has
            thousands of samples.
    """

    def apply(*stacked: Arguments.args, **unused: Arguments.kwargs) -> Result:
        one = cast(Callable[..., Result], function)
        count = tree.leaves(stacked)[0].shape[0]
        if min(count, chunk_size or count) > 1:
            return torch.func.vmap(one, chunk_size=chunk_size)(*stacked)
        rows = [one(*tree.map(lambda leaf, i=i: leaf[i], stacked)) for i in range(count)]
        return tree.map(lambda *values: torch.stack(values), *rows)

    return apply


class Reference(NamedTuple):
    """The point that a batch was collected at, stacked over tasks: a trust region's center."""

    iterates: Iterates  # leaves [N, ...]
    policy: Distribution  # of φ_K on the query inputs, fields [N, B, (T), ...]


@timer("meta-gradient")
@torch.no_grad()
def reference(objective: Objective, meta: Meta, batch: MetaBatch) -> Reference:
    """Adapt to every task and note the policies arrived at."""

    def one(data: MetaBatch) -> Reference:
        iterates = adapt(objective.inner, meta, data.support)
        return Reference(iterates, objective.policy(iterates[-1], data.query.inputs))

    return over_tasks(one, objective.chunk_size)(batch)


@timer("line search")
@torch.no_grad()
def evaluate(
    objective: Objective, meta: Meta, batch: MetaBatch, ref: Reference
) -> tuple[Tensor, Tensor]:
    """Outer loss [N] and KL(reference ‖ adapted policy) [N], a mean over valid query steps."""

    def one(data: MetaBatch, old: Distribution) -> tuple[Tensor, Tensor]:
        iterates = adapt(objective.inner, meta, data.support)
        with asked(objective.policy, iterates[-1], data.query.inputs) as policy:
            loss = objective.outer_loss(iterates, data)
        return loss, masked_mean(kl(old, policy), data.query.mask)

    return over_tasks(one, objective.chunk_size)(batch, ref.policy)


@torch.no_grad()
def along_iterates(
    inner: InnerLoop,
    meta: Meta,
    batch: MetaBatch,
    losses: dict[str, Callable[[Params, Data], Tensor]],
    chunk_size: int | None = None,
) -> dict[str, Tensor]:
    """Losses of φ_0 .. φ_K on the query data, [N, K+1] each."""

    def one(data: MetaBatch) -> dict[str, Tensor]:
        iterates = adapt(inner, meta, data.support)
        return {
            name: torch.stack([loss(params, data.query) for params in iterates])
            for name, loss in losses.items()
        }

    return over_tasks(one, chunk_size)(batch)


def meta_gradient(objective: Objective, meta: Meta, batch: MetaBatch) -> tuple[Tensor, Tensor]:
    """The outer loss of every task and the gradient of its mean.

    Memory grows with `chunk_size`, not with N: each chunk of tasks is differentiated alone.

    Returns:
        losses [N] and the gradient [P], in the order of `tree.ravel(meta)`.
    """
    losses, gradient, _ = _differentiate(objective, meta, batch, lambda iterates, data: ())
    return losses, gradient


def gradient_and_reference(
    objective: Objective, meta: Meta, batch: MetaBatch
) -> tuple[Tensor, Tensor, Reference]:
    """`meta_gradient` and `reference` of one adaptation."""

    def refer(iterates: Iterates, data: MetaBatch) -> Reference:
        return Reference(iterates, objective.policy(iterates[-1], data.query.inputs))

    return _differentiate(objective, meta, batch, refer)


@timer("meta-gradient")
@differentiating
def _differentiate(
    objective: Objective,
    meta: Meta,
    batch: MetaBatch,
    beside: Callable[[Iterates, MetaBatch], Noted],
) -> tuple[Tensor, Tensor, Noted]:
    """Losses [N], their mean's gradient [P], and what `beside` makes of all tasks' iterates."""
    meta = tree.map(lambda leaf: leaf.detach().requires_grad_(), meta)
    theta = tree.leaves(meta)

    def one(data: MetaBatch) -> tuple[Tensor, Noted]:
        iterates = objective.adjoint(objective.inner, meta, data.support, data.hessian)
        values = tree.map(torch.Tensor.detach, iterates)
        with torch.no_grad():
            noted = beside(values, data)
        return objective.outer_loss(iterates, data), noted

    chunks: list[tuple[Tensor, Noted]] = []
    total = torch.zeros_like(tree.ravel(meta)[0])
    for chunk in tree.chunks(batch, objective.chunk_size):
        loss, noted = over_tasks(one)(chunk)
        parts = torch.autograd.grad(loss.sum(), theta, materialize_grads=True)
        total = total + torch.cat([part.reshape(-1) for part in parts])
        chunks.append((loss.detach(), noted))
    losses, noted = tree.map(lambda *rows: torch.cat(rows), *chunks)
    return losses, processes.mean_of_sum(total, len(losses)), noted


@differentiating
def fisher_product(
    objective: Objective,
    meta: Meta,
    batch: MetaBatch,
    ref: Reference,
    *,
    fraction: float = 1.0,
) -> Callable[[Tensor], Tensor]:
    """The curvature of the mean KL at the collecting parameters, as v [P] -> mean_i JᵢᵀFᵢJᵢ v.

    J = dφ_K/dθ by the objective's adjoint, F the Fisher information of the adapted policy on
    the query states. The KL's gradient is zero there, so this is its Hessian exactly (for the
    `unrolled` adjoint on the data of the step itself), with no need to differentiate the KL twice.

    The map from θ to the adapted policies' outputs is linearized once, here; a product is then
    one pass forward and one back through the recorded graph. That graph holds the activations
    of all N tasks, on the fraction of data used.

    Args:
        fraction: the share of each task's data to use, in (0, 1]: of an inner step whole episodes,
            at least one; of the query set states spread over all of it. Of examples it is of the
            query set alone, since a few shots are not exchangeable. Below 1 the products are an
            estimate, still symmetric and positive semi-definite. J and F are taken at the
            true φ_k, which come from all the data (with transductive batch norm, F at outputs that
            see fewer queries).
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"The Fisher fraction must lie in (0, 1], got {fraction}.")
    theta, unravel = tree.ravel(meta)
    theta = theta.detach().requires_grad_()

    def one(data: MetaBatch, iterates: Iterates) -> tuple[Distribution, Tensor]:
        inputs, mask = data.query.inputs, data.query.mask
        support, hessian, inner = data.support, data.hessian, objective.inner
        if fraction < 1:
            inputs, mask = data.query.spread(fraction)
            support, hessian = _part(support, fraction), _part(hessian, fraction)
            inner = anchored(inner, iterates)
        adjoint = objective.curvature or objective.adjoint
        params = adjoint(inner, unravel(theta), support, hessian)[-1]
        weights = mask / mask.sum().clamp(min=1)
        outputs = objective.policy(params, inputs)
        # So that fields that do not depend on θ (a fixed standard deviation) are in the graph.
        return like(outputs, (field + 0 * theta.sum() for field in outputs)), weights

    # All tasks' graphs are held in any case. Where the gradient takes one task at a time, so it is
    # fastest here on all data, but on a tenth to stack all tasks (docs/performance.md).
    size = objective.chunk_size and round(objective.chunk_size / fraction**2)
    linearized = []
    for chunk in tree.chunks((batch, ref.iterates), size):
        outputs, weights = over_tasks(one)(*chunk)
        zeros = tuple(torch.zeros_like(field, requires_grad=True) for field in outputs)
        # The pull-back is linear in its cotangents, so its own derivative with respect to
        # them is the push-forward: two reverse passes make a Jacobian-vector product.
        pulled = torch.autograd.grad(outputs, theta, zeros, create_graph=True)[0]
        linearized.append((outputs, zeros, pulled, weights))
    tasks = sum(len(weights) for *_, weights in linearized)

    @differentiating
    def product(v: Tensor) -> Tensor:
        total = torch.zeros_like(v)
        for outputs, zeros, pulled, weights in linearized:
            pushed = torch.autograd.grad(pulled, zeros, v, retain_graph=True)
            metric = fisher(outputs, like(outputs, pushed))
            cotangent = tuple((_beside(weights, field) * field).detach() for field in metric)
            total = total + torch.autograd.grad(outputs, theta, cotangent, retain_graph=True)[0]
        return processes.mean_of_sum(total, tasks)

    return product


def _beside(weights: Tensor, field: Tensor) -> Tensor:
    """Weights of steps [..., B, T] with the dimensions of what a step has, of size 1."""
    return weights.view(*weights.shape, *[1] * (field.ndim - weights.ndim))


def _part(sets: tuple[Data, ...], fraction: float) -> tuple[Data, ...]:
    """A share of the episodes of one task's inner steps; of examples all."""
    return tuple(each.part(fraction) if isinstance(each, Episodes) else each for each in sets)
