"""An adapted policy as a program of plain torch."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmaml.adapted import AdaptedPolicy, StackedNetworks
from rlmaml.distributions import Gaussian
from rlmaml.errors import ConfigError
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.spaces import affine, encoder
from rlmaml.torch_state import plain_defaults


class TorchPolicy(nn.Module):
    """Maps raw observations to the likeliest actions, in the environment's units, and more.

    Args:
        policy: what `rlmaml.load(run).adapt(env)` returned.
    """

    mean: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    shift: Tensor
    first_action: Tensor

    def __init__(self, policy: AdaptedPolicy) -> None:
        super().__init__()
        self.network = policy.module
        observations, actions = policy.observation_space, policy.action_space
        self.num_states, self.first_state = None, 0
        if isinstance(observations, spaces.Discrete):
            self.num_states, self.first_state = int(observations.n), int(observations.start)
        first = getattr(actions, "start", 0)  # of Discrete and MultiDiscrete
        self.register_buffer("first_action", torch.as_tensor(first, dtype=torch.int64))
        self.action_shape = actions.shape or ()
        self.bounded = isinstance(actions, spaces.Box)
        if isinstance(actions, spaces.Box):
            self.register_buffer("low", torch.as_tensor(actions.low, dtype=torch.float32))
            self.register_buffer("high", torch.as_tensor(actions.high, dtype=torch.float32))
        self.scaled = policy.rescale_actions
        if isinstance(actions, spaces.Box) and self.scaled:
            for name, value in zip(("scale", "shift"), affine(actions), strict=True):
                self.register_buffer(name, torch.from_numpy(value))
        self.normalizes = policy.normalizer is not None
        if policy.normalizer is not None:
            self.register_buffer("mean", policy.normalizer.mean)
            self.register_buffer("variance", policy.normalizer.variance)

    def forward(self, observations: Tensor) -> dict[str, Tensor]:
        """The likeliest actions, and the distribution they are of.

        Args:
            observations: float32 [M, D], or int64 [M] of a Discrete space. Of other spaces that are
                no Box they are vectors as of `gymnasium.spaces.flatten`.

        Returns:
            `action`, the likeliest: float32 [M, A] clipped to the Box, or int64 [M] or
            [M, *actions]; and the distribution: `mean` and `log_std` [M, A] of a Gaussian over
            actions before they are clipped, or `logits`: [M, n], of MultiDiscrete actions [M, D, n]
            (-1e9 where a dimension has fewer), of MultiBinary ones the log-odds [M, D].
        """
        if self.num_states is not None:
            indices = observations - self.first_state
            observations = nn.functional.one_hot(indices, self.num_states).float()
        if self.normalizes:
            normalizer = Normalizer(())
            normalizer.mean, normalizer.variance = self.mean, self.variance
            observations = normalizer(observations)
        distribution = self.network(observations)
        if self.scaled and isinstance(distribution, Gaussian):
            mean, log_std = distribution
            scaled = mean * self.scale + self.shift
            distribution = Gaussian(scaled, log_std + self.scale.log())
        action = distribution.mode()
        if self.bounded:
            action = action.clamp(self.low, self.high)
        else:
            action = action.reshape(-1, *self.action_shape) + self.first_action
        return {"action": action, **distribution._asdict()}


@plain_defaults()
def program(policy: AdaptedPolicy) -> torch.export.ExportedProgram:
    """Trace `TorchPolicy` into a program for any number M of observations.

    Raises:
        ConfigError: a policy of several networks, such as Bayesian MAML's.
    """
    if isinstance(policy.module, StackedNetworks):
        raise ConfigError(
            "A program for torch holds one network, but this policy has several, one for each "
            "particle: use it from Python, rlmaml.load(run).adapt(env)."
        )
    space = policy.observation_space
    if isinstance(space, spaces.Discrete):
        example = torch.full((2,), int(space.start))
    else:
        example = torch.zeros(2, *encoder(space)[1])
    batch = torch.export.Dim("batch", min=1)
    module = TorchPolicy(policy).eval()
    return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
