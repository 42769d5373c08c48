"""An adapted policy as a program of plain torch."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmaml.learner import AdaptedPolicy
from rlmaml.models.mlp import GaussianMLP
from rlmaml.sampling.normalizer import Normalizer


class TorchPolicy(nn.Module):
    """From raw observations to the likeliest actions, in the environment's units, and more.

    Args:
        policy: what `rlmaml.load(run).adapt(env)` returned.
    """

    mean: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, policy: AdaptedPolicy) -> None:
        super().__init__()
        self.network = policy.module
        observed, acted = policy.observation_space, policy.action_space
        self.states = int(observed.n) if isinstance(observed, spaces.Discrete) else None
        self.first = int(observed.start) if isinstance(observed, spaces.Discrete) else 0
        self.start = int(acted.start) if isinstance(acted, spaces.Discrete) else 0
        self.normalizer = policy.normalizer is not None
        if policy.normalizer is not None:
            self.register_buffer("mean", policy.normalizer.mean)
            self.register_buffer("variance", policy.normalizer.variance)
        if isinstance(acted, spaces.Box):
            self.register_buffer("low", torch.as_tensor(acted.low, dtype=torch.float32))
            self.register_buffer("high", torch.as_tensor(acted.high, dtype=torch.float32))

    def forward(self, observations: Tensor) -> dict[str, Tensor]:
        """float32 [M, D], or int64 [M] of a Discrete space.

        Returns:
            `action`, the likeliest: float32 [M, A] clipped to the Box, or int64 [M]; and the
            distribution: `mean` and `log_std` [M, A] of a Gaussian over actions before they are
            clipped, or `logits` [M, n].
        """
        if self.states is not None:
            observations = nn.functional.one_hot(observations - self.first, self.states).float()
        if self.normalizer:
            normalizer = Normalizer(())
            normalizer.mean, normalizer.variance = self.mean, self.variance
            observations = normalizer(observations)
        distribution = self.network(observations)
        action = distribution.mode()
        if isinstance(self.network, GaussianMLP):
            action = action.clamp(self.low, self.high)
        else:
            action = action + self.start
        return {"action": action, **distribution._asdict()}


def program(policy: AdaptedPolicy) -> torch.export.ExportedProgram:
    """`TorchPolicy` as a program for any number M of observations."""
    observed = policy.observation_space
    if isinstance(observed, spaces.Discrete):
        example = torch.full((2,), int(observed.start))
    else:
        example = torch.zeros(2, *(observed.shape or ()))
    batch = torch.export.Dim("batch", min=1)
    module = TorchPolicy(policy).eval()
    return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
