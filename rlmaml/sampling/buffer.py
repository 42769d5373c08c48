"""Buffers for what N·B environments go through while policies act in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlmaml.distributions import Distribution, stack
from rlmaml.types import Episodes


class RolloutBuffer:
    """An episode of each of M = N·B environments, time first, so that a step writes one row.

    At every time step call `observe`, `act`, `record` and, where episodes ended, `end`; then
    `finish`, once.

    Args:
        tasks: N.
        episodes: B; environment i·B + j runs episode j of task i.
        horizon: T, time steps at most.
        observation_shape: of what policies see.
        diagnostics: names of what the environments report of a step.
        active: which environments have an episode to play [M]; the others are padding.

    Attributes:
        alive: which episodes go on [M].
    """

    def __init__(
        self,
        *,
        tasks: int,
        episodes: int,
        horizon: int,
        observation_shape: tuple[int, ...],
        diagnostics: Sequence[str],
        active: NDArray[np.bool_],
    ) -> None:
        n, b, count = tasks, episodes, tasks * episodes
        self._shape, self._horizon, self._observation_shape = (n, b), horizon, observation_shape
        zeros = partial(torch.zeros, dtype=torch.float32, device="cpu")
        self._observations = zeros((horizon, n, b, *observation_shape))
        self._rewards, self._mask = zeros((horizon, n, b)), zeros((horizon, n, b))
        names = (*diagnostics, "diverged")
        self._diagnostics = {name: zeros((horizon, n, b)) for name in names}
        # The same memory as rows of all environments [T, M, ...].
        self._observation_rows = _rows(self._observations, count)
        self._reward_rows, self._mask_rows = _rows(self._rewards, count), _rows(self._mask, count)
        self._rows = {name: _rows(value, count) for name, value in self._diagnostics.items()}
        self._final = np.zeros((count, *observation_shape), np.float32)
        self._terminated = np.zeros(count, bool)
        self._policies: list[Distribution] = []
        self._actions: list[Tensor] = []
        self.alive = active

    def observe(self, t: int, observations: NDArray[np.float32]) -> Tensor:
        """Note what is seen before step t, [M, *obs].

        Returns:
            The same [N, B, *obs].
        """
        self._observation_rows[t] = observations
        return self._observations[t]

    def act(self, policy: Distribution, actions: Tensor) -> None:
        """Note the next actions [N, B, *act] and the distributions that they were drawn from."""
        self._policies.append(policy)
        self._actions.append(actions)

    def record(
        self, t: int, rewards: NDArray[np.float64], reports: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Note what step t led to, [M] each.

        A step in which a simulation diverged is counted in `diverged` and is otherwise padding.
        """
        diverged = self.alive & (reports["diverged"] > 0)
        valid = self.alive & ~diverged
        self._mask_rows[t] = valid
        self._reward_rows[t] = np.where(valid, rewards, 0)
        for name, row in self._rows.items():
            row[t] = diverged if name == "diverged" else np.where(valid, reports[name], 0)

    def end(
        self,
        ended: NDArray[np.bool_],
        terminations: NDArray[np.bool_],
        observations: NDArray[np.float32],
    ) -> None:
        """End some episodes.

        Args:
            ended: which [M]; only of those that were alive.
            terminations: which ended truly [M], and not by a time limit or a divergence.
            observations: where they ended [those, *obs].
        """
        self._final[ended] = observations
        self._terminated |= terminations & ended
        self.alive = self.alive & ~ended

    def finish(self, observations: NDArray[np.float32], device: torch.device) -> Episodes:
        """Everything noted, as episodes.

        Args:
            observations: where those that are still alive are [M, *obs].
            device: where the episodes go.

        Returns:
            Leaves [N, B, ...]; values and advantages are zero.
        """
        self._final[self.alive] = observations[self.alive]
        actions = torch.stack(self._actions)
        final = torch.from_numpy(self._final).view(*self._shape, *self._observation_shape)
        return lay_out(
            observations=self._observations,
            actions=actions,
            log_probs=stack(self._policies).log_prob(actions),  # fields [t, N, B, ...]
            rewards=self._rewards,
            mask=self._mask,
            terminated=torch.from_numpy(self._terminated).view(self._shape),
            final=final,
            diagnostics=self._diagnostics,
            horizon=self._horizon,
            device=device,
        )


def lay_out(
    *,
    observations: Tensor,
    actions: Tensor,
    log_probs: Tensor,
    rewards: Tensor,
    mask: Tensor,
    terminated: Tensor,
    final: Tensor,
    diagnostics: Mapping[str, Tensor],
    horizon: int,
    device: torch.device,
) -> Episodes:
    """Time first as episodes first.

    Args:
        observations: [t <= T, N, B, *obs].
        actions: [t <= T, N, B, *act].
        log_probs: [t <= T, N, B], and so are the next.
        rewards: 0 on padding.
        mask: 0 on padding.
        terminated: [N, B].
        final: where episodes ended [N, B, *obs].
        diagnostics: [t <= T, N, B] each.
        horizon: T; what is missing is padding.
        device: where the episodes go.

    Returns:
        Leaves [N, B, ...]; values and advantages are zero.
    """

    def episodewise(x: Tensor) -> Tensor:
        x = x.to(device)
        if len(x) < horizon:
            x = torch.cat([x, x.new_zeros(horizon - len(x), *x.shape[1:])])
        return x.permute(1, 2, 0, *range(3, x.ndim)).contiguous()

    there = episodewise(mask)
    return Episodes(
        observations=episodewise(observations),
        actions=episodewise(actions),
        rewards=episodewise(rewards),
        log_probs=episodewise(log_probs) * there,
        values=torch.zeros_like(there),
        advantages=torch.zeros_like(there),
        mask=there,
        terminated=terminated.to(there),
        final_observations=final.to(there),
        diagnostics={name: episodewise(value) for name, value in diagnostics.items()},
    )


def _rows(values: Tensor, count: int) -> NDArray[np.float32]:
    """[T, N, B, ...] as an array [T, N·B, ...] of the same memory."""
    return values.numpy().reshape(len(values), count, *values.shape[3:])
