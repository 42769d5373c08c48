"""Rollouts of which the host sees nothing until they are over.

Where environments step in tensors on the device on which policies act, a rollout is a chain of
computations there. In it no value is looked at: whoever has ended goes on and counts for nothing,
and whether all was finite is asked once, at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import Space
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from rlmaml.distributions import Distribution, stack
from rlmaml.sampling.buffer import lay_out
from rlmaml.sampling.faults import DIVERGED, require_finite, require_finite_actions
from rlmaml.sampling.spaces import affine
from rlmaml.types import Episodes

Steps = tuple[Tensor, Tensor, Tensor, Tensor, Mapping[str, Tensor]]
"""Observations [M, *obs], rewards, terminations and truncations [M] each, and the report."""


class DeviceEnv(Protocol):
    """M environments that begin and step together, in tensors: what a vector environment may have
    as `on_device`."""

    device: str

    def begin(self, seeds: Sequence[int], active: Tensor) -> Tensor:
        """First observations [M, *obs]; what is not active [M] counts for nothing."""
        ...

    def step(self, actions: Tensor) -> Steps:
        """Take actions [M, *act]."""
        ...

    def check(self) -> None:
        """Refuse what was stepped, if it is not whole."""
        ...


_NAMES = ("device", "begin", "step", "check")


def find(env: Any, device: torch.device) -> DeviceEnv | None:
    """The environments in tensors on a device; None where there are none."""
    found = getattr(env, "on_device", None)
    if found is None or not all(hasattr(found, name) for name in _NAMES):
        return None  # or somebody's own attribute of this name
    return found if _place(torch.device(found.device)) == _place(device) else None


def _place(device: torch.device) -> tuple[str, int]:
    """A device with its number, which `cuda` alone does not name."""
    if device.index is not None:
        return device.type, device.index
    return device.type, torch.cuda.current_device() if device.type == "cuda" else 0


def action_filter(space: Space, rescale: bool, device: torch.device) -> Callable[[Tensor], Tensor]:
    """`rlmaml.sampling.spaces.action_filter` of a Box, for tensors on a device; to float64."""
    assert isinstance(space, Box)
    low, high = (torch.from_numpy(x).to(device) for x in (space.low, space.high))
    if not rescale:
        return lambda actions: actions.clamp(low, high).double()
    scale, shift = (torch.from_numpy(x).to(device) for x in affine(space))
    return lambda actions: (actions * scale + shift).clamp(low, high).double()


class Trajectory:
    """An episode of each of M = N·B environments, as a rollout goes through them.

    Args:
        shape: N and B; environment i·B + j runs episode j of task i.
        reported: names in reports, by the name that each is recorded by.
        alive: which environments have an episode to play [M]; the others are padding.
        observed: the first observations [M, *obs].

    Attributes:
        seen: what policies see next [N, B, *obs], float32.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        reported: Mapping[str, str],
        alive: Tensor,
        observed: Tensor,
    ) -> None:
        self._shape, self._reported = shape, reported
        self._alive, self._terminated = self._laid(alive), torch.zeros_like(self._laid(alive))
        self.seen = self._laid(observed).float()
        self._policies: list[Distribution] = []
        self._rows: dict[str, list[Tensor]] = defaultdict(list)
        self._diagnostics: dict[str, list[Tensor]] = defaultdict(list)

    def record(self, policy: Distribution, actions: Tensor, led_to: Steps) -> None:
        """Note a step.

        Args:
            policy: what actions were drawn from.
            actions: of policies [N, B, *act].
            led_to: what environments gave.
        """
        following, rewards, terminations, truncations = map(self._laid, led_to[:4])
        report = {name: self._laid(led_to[4][told]) for name, told in self._reported.items()}
        diverged = self._laid(led_to[4][DIVERGED]) & self._alive
        valid = self._alive & ~diverged
        row = {"observations": self.seen, "actions": actions, "alive": self._alive}
        row |= {"mask": valid.float(), "rewards": torch.where(valid, rewards, 0.0).float()}
        told = {name: torch.where(valid, values, 0.0) for name, values in report.items()}
        for name, values in row.items():
            self._rows[name].append(values)
        for name, values in (told | {"diverged": diverged}).items():
            self._diagnostics[name].append(values.float())
        self._policies.append(policy)
        going = _like(self._alive, following)
        # Where an episode has ended it stays, whatever is simulated there.
        self.seen = torch.where(going, following.float(), self.seen)
        self._terminated = self._terminated | (terminations & self._alive)
        self._alive = self._alive & ~(terminations | truncations)

    def require_finite(self, env: Any) -> None:
        """Look, once, whether all was finite.

        Raises:
            FloatingPointError: actions that are not.
            EnvironmentFault: observations or rewards that are not, of an episode that went on.
        """
        seen = [*self._rows["observations"], self.seen]
        actions, rewards = self._rows["actions"], self._rows["rewards"]
        sums = torch.stack([each.double().sum() for each in (*seen, *actions, *rewards)])
        if torch.isfinite(sums).all():
            return
        for t, alive in enumerate(self._rows["alive"]):  # in the order in which it came about
            counted, where = alive.flatten().cpu().numpy(), {"episodes": self._shape[1]}
            if t == 0:
                require_finite(_array(seen[0]), counted, env, what="observation", step=0, **where)
            require_finite_actions(torch.where(_like(alive, actions[t]), actions[t], 0))
            for what, values in (("reward", rewards[t]), ("observation", seen[t + 1])):
                require_finite(_array(values), counted, env, what=what, step=t + 1, **where)

    def finish(self) -> Episodes:
        """Everything noted as episodes of as many steps; values and advantages are zero."""
        rows = {name: torch.stack(values) for name, values in self._rows.items()}
        return lay_out(
            observations=rows["observations"],
            actions=rows["actions"],
            log_probs=stack(self._policies).log_prob(rows["actions"]),
            rewards=rows["rewards"],
            mask=rows["mask"],
            terminated=self._terminated,
            final=self.seen,
            diagnostics={name: torch.stack(rows) for name, rows in self._diagnostics.items()},
            horizon=len(rows["mask"]),
            device=self.seen.device,
        )

    def _laid(self, values: Tensor) -> Tensor:
        """[M, ...] as [N, B, ...]."""
        return values.view(*self._shape, *values.shape[1:])


def _like(mask: Tensor, values: Tensor) -> Tensor:
    """A mask [N, B] in the shape of values [N, B, ...]."""
    return mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)).expand_as(values)


def _array(values: Tensor) -> NDArray[np.float32]:
    """[N, B, ...] as an array [M, ...]."""
    return values.flatten(0, 1).cpu().numpy()
