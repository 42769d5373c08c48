"""An adapted policy as a PPO model of stable-baselines3, to go on learning with."""

from __future__ import annotations

import math
from typing import Any, TypedDict

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from rlmaml.adapted import AdaptedPolicy
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.models.mlp import BernoulliMLP, CategoricalMLP, GaussianMLP, MultiCategoricalMLP
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.spaces import affine
from rlmaml.torch_state import plain_defaults
from runners.export.sb3 import as_vec_env


class PPOSettings(TypedDict):
    """Arguments of PPO that a run decides."""

    gamma: float
    gae_lambda: float
    n_steps: int
    batch_size: int


def ppo_settings(config: TrainConfig, copies: int = 1) -> PPOSettings:
    """PPO's settings to go on with after a run: its discount, and rollouts of whole episodes.

    Discount and λ are those of the outer advantages. The rollout is stable-baselines3's default
    of 2048 env steps, rounded to a multiple of the horizon in each of M copies. The size of a
    minibatch is the divisor of the rollout that is nearest to the default, 64.

    Args:
        config: the run's.
        copies: M, environments that are stepped at once.
    """
    n_steps = config.horizon * max(1, round(2048 / (config.horizon * copies)))
    total = n_steps * copies
    sizes = [size for size in range(32, 129) if total % size == 0]
    return {
        "gamma": config.outer_advantages.discount,
        "gae_lambda": config.outer_advantages.gae_lambda,
        "n_steps": n_steps,
        "batch_size": min(sizes, key=lambda size: abs(math.log(size / 64)), default=64),
    }


@plain_defaults()
def to_sb3(
    policy: AdaptedPolicy, env: gymnasium.Env | VectorEnv | VecEnv, **hyperparameters: Any
) -> PPO:
    """Make a PPO model of the policy on `env`; its value network is untrained.

    With deterministic=True it predicts what the policy does. Where the policy standardizes vectors,
    the model's environment is a `VecNormalize` with the same statistics, frozen; of Discrete,
    MultiDiscrete and MultiBinary observations they go into the first layer's weights instead. The
    scaling of actions goes into the last layer.

    Args:
        policy: what `rlmaml.load(run).adapt(env)` returned.
        env: what to go on learning in: one environment, a batched one in SAME_STEP mode, or a
            `VecEnv`.
        hyperparameters: of PPO; see `ppo_settings`. stable-baselines3's defaults otherwise.

    Raises:
        ConfigError: an environment with other spaces than the policy's, spaces that
            stable-baselines3 cannot handle, or a policy that is not one MLP.
    """
    check_spaces(policy)
    network = mlp_of(policy)
    venv = as_vec_env(env)
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(policy, name), getattr(venv, name)
        if ours != theirs:
            raise ConfigError(f"The policy's {name} is {ours}, but the environment's is {theirs}.")
    if policy.normalizer is not None and isinstance(policy.observation_space, spaces.Box):
        venv = _standardized(venv, policy.normalizer)
    hidden = [layer.out_features for layer in network if isinstance(layer, nn.Linear)][:-1]
    shape: dict[str, object] = {"net_arch": {"pi": hidden, "vf": hidden}}
    if hidden:
        shape["activation_fn"] = type(network[1])
    own = hyperparameters.pop("policy_kwargs", {})
    model = PPO(
        "MlpPolicy", venv, policy_kwargs=shape | own, **{"device": "cpu", **hyperparameters}
    )
    _copy_parameters(policy, network, model.policy)
    return model


@torch.no_grad()
def _copy_parameters(
    policy: AdaptedPolicy, network: nn.Sequential, model: ActorCriticPolicy
) -> None:
    sources = [layer for layer in network if isinstance(layer, nn.Linear)]
    targets = [layer for layer in model.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    if isinstance(model.action_net, nn.Linear):
        targets.append(model.action_net)
    for source, target in zip(sources, targets, strict=True):
        target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)
    if policy.normalizer is not None and not isinstance(policy.observation_space, spaces.Box):
        _standardize_bits(policy.normalizer, policy.observation_space, sources[0], targets[0])
    if isinstance(policy.module, GaussianMLP):
        model.log_std.copy_(policy.module.log_std.clamp(min=policy.module.min_log_std))
        if policy.rescale_actions and isinstance(policy.action_space, spaces.Box):
            scale, shift = map(torch.from_numpy, affine(policy.action_space))
            targets[-1].weight.mul_(scale[:, None])
            targets[-1].bias.mul_(scale).add_(shift)
            model.log_std.add_(scale.log())


def _standardize_bits(
    normalizer: Normalizer, space: gymnasium.Space, source: nn.Linear, target: nn.Linear
) -> None:
    """Let a layer of inputs 0 and 1 standardize them, which is affine of such."""
    if isinstance(space, spaces.Discrete):
        # Row i: what the first layer is given of observation i.
        inputs = normalizer(torch.eye(source.in_features))
        target.weight.copy_(source.weight @ inputs.T)
        return
    zeros, ones = (normalizer(x(source.in_features)) for x in (torch.zeros, torch.ones))
    target.weight.copy_(source.weight * (ones - zeros))
    target.bias.copy_(source.bias + source.weight @ zeros)


def mlp_of(policy: AdaptedPolicy) -> nn.Sequential:
    """The layers from observations to the mean or the logits.

    Raises:
        ConfigError: a policy that is not one MLP, such as Bayesian MAML's several networks.
    """
    module = policy.module
    if isinstance(module, GaussianMLP):
        return module.mean
    if isinstance(module, CategoricalMLP | MultiCategoricalMLP | BernoulliMLP):
        return module.logits
    raise ConfigError(
        f"stable-baselines3 takes one of the perceptrons of rlmaml.models, not a "
        f"{type(module).__name__}: use the policy from Python, rlmaml.load(run).adapt(env)."
    )


def check_spaces(policy: AdaptedPolicy) -> None:
    """Check that stable-baselines3 can handle the policy's spaces.

    Raises:
        ConfigError: observations of several parts, numbers that do not begin at 0 or are arranged
            in a table, or unbounded actions.
    """
    for space in (policy.observation_space, policy.action_space):
        if isinstance(space, spaces.Dict | spaces.Tuple):
            raise ConfigError(
                f"A PPO model of one perceptron takes no observations of {space}: export to torch "
                "(--to torch), or train on the environment in "
                "gymnasium.wrappers.FlattenObservation."
            )
        counts = isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
        if counts and len(space.shape or ()) != 1:
            raise ConfigError(
                f"stable-baselines3 takes numbers in a row, but there is {space}: wrap the "
                "environment, or export to torch."
            )
        numbers = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
        if numbers and np.any(space.start):
            raise ConfigError(
                f"stable-baselines3 counts from 0, but there is a {space}: wrap the environment, "
                "or export to torch."
            )
    actions = policy.action_space
    if isinstance(actions, spaces.Box) and not actions.is_bounded():
        raise ConfigError(
            f"stable-baselines3 needs bounded actions, but there is {actions}: wrap the "
            "environment in gymnasium.wrappers.ClipAction or RescaleAction, or export to torch."
        )


def _standardized(venv: VecEnv, normalizer: Normalizer) -> VecNormalize:
    """`Normalizer` in stable-baselines3's terms: its statistics, ε and bounds, frozen."""
    wrapped = VecNormalize(venv, training=False, norm_reward=False, clip_obs=10.0, epsilon=1e-8)
    moments = RunningMeanStd(shape=tuple(normalizer.mean.shape))
    moments.mean, moments.var = normalizer.mean.numpy().copy(), normalizer.variance.numpy().copy()
    moments.count = float(normalizer.count)
    wrapped.obs_rms = moments
    return wrapped
