"""Adapt while sampling: the same for training and for evaluation."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rlmaml import tree
from rlmaml.objective import over_tasks
from rlmaml.profiling import timer
from rlmaml.rng import Key
from rlmaml.torch_state import making_tensors
from rlmaml.types import Data, InnerLoop, Meta, MetaBatch, Params, Role


class Sampler(Protocol):
    """Makes data of tasks.

    One whose data do not depend on the parameters says so: `on_policy = False`. The others have a
    method `valued(data, role)`, data as they would be for another purpose, if that is asked for.
    """

    def __call__(
        self, params: Params, tasks: NDArray[np.generic], key: Key, role: Role, step: int, /
    ) -> Data:
        """Data for one purpose.

        Args:
            params: leaves [N, ...].
            tasks: [N, *task_space.shape].
            key: what all randomness of this call derives from, together with `role` and `step`.
            role: what the data are for.
            step: inner steps taken so far.

        Returns:
            Leaves [N, ...].
        """
        ...


@making_tensors
def collect(
    sampler: Sampler,
    inner: InnerLoop,
    meta: Meta,
    tasks: NDArray[np.generic],
    *,
    steps: int,
    key: Key,
    chunk_size: int | None = None,
    separate_hessian: bool = False,
    query: bool = True,
    before: bool = False,
) -> MetaBatch:
    """Sample with φ_k, take inner step k, and so on to φ_K; then sample the query data with it.

    Where the sampler is not on-policy the data are the same without adapting, so that is left out.
    Data comes to the device of `meta` once per inner step; parameters go back once.

    Args:
        sampler: makes the data.
        inner: the inner loop.
        meta: the meta-parameters, unstacked.
        tasks: [N, *task_space.shape].
        steps: K.
        key: (seed, iteration, phase), what all the sampler's randomness derives from.
        chunk_size: tasks per stacked inner step.
        separate_hessian: with φ_k also sample as many data for the derivative of inner step k.
        query: whether to sample with φ_K at all.
        before: what was sampled with φ_0 for the first step also as it is for the outer loss.

    Returns:
        A batch with leaves [N, ...]; `iterates` are φ_0 .. φ_K where the sampler is on-policy, else
        empty, and `query` is empty if it is not asked for.
    """
    meta = tree.ordinary(meta)
    on_policy = getattr(sampler, "on_policy", True)
    device = tree.leaves(meta)[0].device
    params = tree.repeat(inner.start(meta), len(tasks))
    iterates, support, hessian = [params], [], []
    for k in range(steps):
        data = tree.to(sampler(params, tasks, key, "support", k), device)
        support.append(data)
        if separate_hessian:
            hessian.append(tree.to(sampler(params, tasks, key, "hessian", k), device))
        if not on_policy:
            continue

        def step(params: Params, data: Data, k: int = k) -> Params:
            return inner.step(meta, params, data, k)

        with timer("adaptation"):
            params = over_tasks(step, chunk_size)(params, data)
        iterates.append(params)
    final = tree.to(sampler(params, tasks, key, "query", steps), device) if query else ()
    first: Data = ()
    if before and steps:
        first = cast(Any, sampler).valued(support[0], "query") if on_policy else final
    return MetaBatch(
        tuple(support),
        final,
        tuple(hessian),
        iterates=tuple(iterates) if on_policy else (),
        before=first,
    )
