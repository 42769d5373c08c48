"""Batches counted in time steps: more episodes where they end early."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlmaml import tree
from rlmaml.profiling import timer
from rlmaml.rng import Key, generator
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import TaskVectorEnv
from rlmaml.types import Episodes, Params, Role

MOST_EPISODES = 10
"""Times B episodes, at most, that a task has to come by B·T time steps."""


class FillToHorizon:
    """A sampler of as many episodes of a task as have the B·T time steps of B full-length ones.

    It samples on, where episodes end early, until a task's have B·T steps, in at most `most` times
    B. Those after the one that reaches it are not used, and not counted.

    Args:
        sampler: rolls out B episodes of each task at a time; its settings hold here too.
        most: times B episodes that a task has at most.
    """

    def __init__(self, sampler: RolloutSampler, most: int = MOST_EPISODES) -> None:
        self.sampler, self.most = sampler, most

    @property
    def env(self) -> TaskVectorEnv:
        return self.sampler.env

    @property
    def normalizer(self) -> Normalizer | None:
        return self.sampler.normalizer

    @property
    def deterministic(self) -> bool:
        return self.sampler.deterministic

    @deterministic.setter
    def deterministic(self, value: bool) -> None:
        self.sampler.deterministic = value

    @torch.no_grad()
    def __call__(
        self,
        params: Params,
        tasks: NDArray[np.generic],
        key: Key,
        role: Role = "query",
        step: int = 0,
    ) -> Episodes:
        """Sample episodes. Arguments and errors as of `RolloutSampler.__call__`.

        Returns:
            Episodes with leaves [N, B', ...], B' of the task with most of them; the others have
            rows of padding alone at the end.
        """
        sampler = self.sampler
        params, rngs = sampler.begin(params, tasks, key, role, step)
        with timer("rollouts"):
            rounds = [sampler.roll_out(params, np.full(sampler.tasks, sampler.episodes), rngs)]
            while (more := self._missing(rounds)).any():
                rngs = self._streams(key, role, step, len(rounds))
                rounds.append(sampler.roll_out(params, more, rngs))
            recorded = self._used(rounds)
        return sampler.finish(recorded, role)

    def valued(self, recorded: Episodes, role: Role) -> Episodes:
        """`RolloutSampler.valued`."""
        return self.sampler.valued(recorded, role)

    @property
    def _wanted(self) -> int:
        return self.sampler.episodes * self.sampler.horizon

    def _missing(self, rounds: list[Episodes]) -> NDArray[np.int_]:
        """Number of further episodes of each task that will do if as long as those so far [N]."""
        steps = _lengths(rounds)
        taken, done = steps.sum(1).numpy(), (steps > 0).sum(1).numpy()
        more = np.ceil((self._wanted - taken).clip(0) * done / taken.clip(1)).astype(int)
        count = self.sampler.episodes
        return np.minimum(more, np.minimum(count, self.most * count - done)).clip(0)

    def _streams(self, key: Key, role: Role, step: int, number: int) -> list[np.random.Generator]:
        """A generator for each task in a later round."""
        *first, last = key
        role_number = int(role == "hessian")
        return [
            generator(*first, last + step, i, role_number, number) for i in self.sampler.numbers
        ]

    def _used(self, rounds: list[Episodes]) -> Episodes:
        """The episodes of all rounds up to the one that reaches B·T steps, in their order."""
        steps = _lengths(rounds)
        used = (steps.cumsum(1) - steps < self._wanted) & (steps > 0)
        order = (~used).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(used.sum(1).max())]

        def join(*parts: Tensor) -> Tensor:  # [N, B, ...] each
            shape = (*order.shape, *[1] * (parts[0].ndim - 2))
            rows, kept = (x.view(shape).to(parts[0].device) for x in (order, used.gather(1, order)))
            joined = torch.cat(parts, 1)
            return joined.gather(1, rows.expand(-1, -1, *joined.shape[2:])) * kept

        return tree.map(join, *rounds)


def _lengths(rounds: list[Episodes]) -> Tensor:
    """Time steps of each episode [N, all rounds' B], a diverged one's last included."""
    steps = [part.mask.sum(-1) + part.diagnostics["diverged"].sum(-1) for part in rounds]
    return torch.cat(steps, 1).cpu()
