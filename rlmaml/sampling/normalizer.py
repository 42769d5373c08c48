"""Running statistics of observations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlmaml import processes


class Normalizer:
    """Running mean and variance of observations (Chan, Golub and LeVeque 1983).

    Frozen while a meta-iteration is collected and while evaluating: `observe` notes a batch,
    `commit` folds in what was noted.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        as_float64 = {"dtype": torch.float64, "device": "cpu"}
        self.count = torch.zeros((), **as_float64)
        self.mean, self.variance = torch.zeros(shape, **as_float64), torch.ones(shape, **as_float64)
        self._noted: list[list[tuple[Tensor, Tensor, Tensor]]] = []  # of each batch, by task

    def __call__(self, observations: Tensor) -> Tensor:
        """[..., *obs] -> standardized and clipped to ±10."""
        return self.on(observations.device)(observations)

    def of_tasks(self, observations: Tensor) -> Tensor:
        """Tasks' observations [N, ..., *obs] -> as by a call.

        A task at a time: float64 of all would take several times what comes out.
        """
        return torch.cat([self(own) for own in observations.split(1)])

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The function of a call with the statistics as they are now, brought to a device once."""
        mean, variance = self.mean.to(device), self.variance.to(device)

        def standardized(observations: Tensor) -> Tensor:
            centered = (observations.double() - mean) * (variance + 1e-8).rsqrt()
            return centered.clamp(-10, 10).float()

        return standardized

    def undo(self, standardized: Tensor) -> Tensor:
        """[..., *obs], as the environment gave them, but for what was clipped."""
        return standardized * (self.variance + 1e-8).sqrt() + self.mean

    def observe(self, observations: Tensor, mask: Tensor) -> None:
        """Note tasks' observations [N, ..., *obs], where the mask [N, ...] is 1.

        Moments are taken of each task by itself: what a task adds then does not depend, in the last
        bit, on which others are beside it.
        """
        moments = []
        for own, there in zip(observations, mask > 0, strict=True):
            valid = own[there].double()
            if len(valid):
                count = torch.tensor(float(len(valid)), dtype=torch.float64, device="cpu")
                both = valid.mean(0), valid.var(0, unbiased=False)
                moments.append((count, *(moment.cpu() for moment in both)))
        self._noted.append(moments)

    def commit(self) -> None:
        """Fold in what all processes have noted, task by task in their order."""
        for count, mean, variance in self._of_all():
            total = self.count + count
            shift = mean - self.mean
            self.variance = (
                self.variance * self.count
                + variance * count
                + shift**2 * self.count * count / total
            ) / total
            self.mean = self.mean + shift * count / total
            self.count = total
        self._noted.clear()

    def _of_all(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What was noted, of each batch the tasks of all processes in their order."""
        of_processes = processes.collected(self._noted)
        batches = zip(*of_processes, strict=True)
        return [task for batch in batches for of_one in batch for task in of_one]

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count, "mean": self.mean, "variance": self.variance}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over the statistics that `state_dict` gave.

        Raises:
            ValueError: others than these, or of other shapes.
        """
        for name, value in self.state_dict().items():
            if name not in state:
                raise ValueError(f"{name} is missing")
            if state[name].shape != value.shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}")
        self.count, self.mean, self.variance = (
            state[name].clone() for name in ("count", "mean", "variance")
        )
        self._noted.clear()
