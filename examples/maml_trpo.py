"""MAML with TRPO in one file: half-cheetahs that learn to turn round after one gradient step.

    pip install torch "gymnasium[mujoco]" numpy
    python maml_trpo.py

A task is a direction, forward or backward, that the policy is not told. Meta-training looks for
parameters θ from which one policy-gradient step on twenty episodes of a task makes a policy φ that
runs in its direction (Finn, Abbeel and Levine 2017). In each iteration, for each of N tasks:

    1. play B episodes with θ, estimate advantages, and adapt:  φ = θ - α ∇L(θ)
    2. play B episodes with φ, which tell how good θ is as a place to start from
    3. move θ by a trust-region step (TRPO) on the mean of all tasks' losses at φ(θ), whose
       gradient goes back through step 1: that is a second derivative

Nothing here is clever, so that everything can be read: tasks in a Python loop, single environments,
autograd. The package does the same, many times as fast, and is tested against this file.

Shapes: B episodes, T time steps, O observation and A action entries, P parameters.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Params = dict[str, Tensor]
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "elu": functional.elu}


@dataclass(frozen=True)
class Estimate:
    """How advantages are estimated, of one task's episodes."""

    discount: float = 0.99
    gae_lambda: float = 0.95
    baseline: bool = True
    normalize: bool = True


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; numbers are options of the command line too."""

    seed: int = 0
    iterations: int = 100
    tasks: int = 20  # N
    episodes: int = 20  # B
    horizon: int = 200  # T
    inner_steps: int = 1  # K
    step_size: float = 0.1  # α
    surrogate: str = "lvc"
    max_kl: float = 0.02
    damping: float = 1e-5
    cg_iterations: int = 20
    curvature_share: float = 0.1  # of the data, in curvature products
    backtracks: int = 15
    backtrack_ratio: float = 0.8
    hidden: tuple[int, ...] = (100, 100)
    activation: str = "tanh"
    min_log_std: float = -13.8
    # The twenty episodes of an inner step are too few to tell what an action does to the far
    # future; those of all tasks, which the outer step has, are not.
    inner_estimate: Estimate = field(default=Estimate(discount=0.9, gae_lambda=0.9))
    outer_estimate: Estimate = field(default=Estimate())


class Episodes(NamedTuple):
    """B episodes of one task; everything is 0 where the mask is."""

    observations: Tensor  # [B, T, O]
    actions: Tensor  # [B, T, A]  as drawn, before they are clipped
    log_probs: Tensor  # [B, T]  of the policy that acted
    advantages: Tensor  # [B, T]
    mask: Tensor  # [B, T]  1 while the episode lasts
    rewards: Tensor  # [B, T]


# The policy: a perceptron for the mean of a Gaussian, and a standard deviation for each action.


class Normal(NamedTuple):
    """A Gaussian with a standard deviation for each dimension."""

    mean: Tensor  # [..., A]
    log_std: Tensor  # [A]

    def log_prob(self, actions: Tensor) -> Tensor:
        """log π(a), [...]."""
        standardized = (actions - self.mean) * (-self.log_std).exp()
        return -(0.5 * standardized**2 + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def detach(self) -> Normal:
        """The same, as a constant."""
        return Normal(self.mean.detach(), self.log_std.detach())


def kl(old: Normal, new: Normal) -> Tensor:
    """KL(old ‖ new), [...]."""
    squares = (2 * old.log_std).exp() + (old.mean - new.mean) ** 2
    return (new.log_std - old.log_std + 0.5 * squares * (-2 * new.log_std).exp() - 0.5).sum(-1)


def initial_params(observation: int, action: int, settings: Settings) -> Params:
    """Xavier-uniform weights, zero biases, standard deviations of 1."""
    params: Params = {}
    sizes = [observation, *settings.hidden, action]
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = torch.empty(outputs, inputs)
        params[f"mean.{2 * layer}.weight"] = torch.nn.init.xavier_uniform_(weight)
        params[f"mean.{2 * layer}.bias"] = torch.zeros(outputs)
    return params | {"log_std": torch.zeros(action)}


def policy(params: Params, observations: Tensor, settings: Settings) -> Normal:
    """π(· | o): parameters are an argument, since MAML has several sets of them."""
    x, last = observations, len(settings.hidden)
    for layer in range(last + 1):
        name = f"mean.{2 * layer}"
        x = functional.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])
        if layer < last:
            x = ACTIVATIONS[settings.activation](x)
    return Normal(x, params["log_std"].clamp(min=settings.min_log_std))


# Losses of one task.


def mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over valid steps."""
    return (x * mask).sum() / mask.sum()


def ratio_loss(new: Normal, data: Episodes) -> Tensor:
    """-mean π/π_old Â: the outer loss, and with θ for both the inner loss "lvc".

    Its gradient at π = π_old is the policy gradient, and its second derivative has a low variance
    (Rothfuss et al. 2019, equation 9).
    """
    log_ratio = (new.log_prob(data.actions) - data.log_probs) * data.mask
    return -mean(log_ratio.exp() * data.advantages, data.mask)


def inner_loss(new: Normal, data: Episodes, surrogate: str) -> Tensor:
    """What an inner step descends: the same gradient either way, but not the same derivative."""
    if surrogate == "lvc":
        return ratio_loss(new, data)
    return -mean(new.log_prob(data.actions) * data.advantages, data.mask)  # the MAML paper's


# The inner loop.


def adapt(
    params: Params,
    support: Sequence[Episodes],
    settings: Settings,
    *,
    graph: bool = False,
) -> Params:
    """φ_{k+1} = φ_k - α ∇L(φ_k, D_k), for each D_k of `support`.

    Args:
        params: φ_k.
        support: episodes that were played with φ_k, φ_{k+1}, ...
        settings: of which step sizes and the loss are read.
        graph: keep the graph, to differentiate through the steps; or else return constants.
    """
    if not graph:
        params = leaves(params)
    for data in support:
        new = policy(params, data.observations, settings)
        loss = inner_loss(new, data, settings.surrogate)
        # create_graph is what makes this MAML: without it θ's part in the gradient is forgotten.
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=graph)
        params = {
            name: value - settings.step_size * gradient
            for (name, value), gradient in zip(params.items(), gradients, strict=True)
        }
        if not graph:
            params = leaves(params)
    return params


def leaves(params: Params) -> Params:
    """The same values, to differentiate by."""
    return {name: value.detach().requires_grad_() for name, value in params.items()}


# The outer step: TRPO (Schulman et al. 2015), on the loss and the divergence after adaptation.


def update(
    params: Params,
    support: Sequence[Sequence[Episodes]],
    query: Sequence[Episodes],
    settings: Settings,
    *,
    keep: bool = True,
) -> tuple[Params, dict[str, Any]]:
    """The new θ, and metrics.

    Args:
        params: θ, that the data was collected with.
        support: of each of N tasks, of each of K inner steps.
        query: of each of N tasks, played with φ.
        settings: of the trust region.
        keep: the graph of the KL's gradient, for all curvature products; or else adapt anew for
            each, which takes longer, and the memory of one task.
    """
    theta, tasks = leaves(params), list(zip(support, query, strict=True))
    metrics: dict[str, Any] = {"surrogate/gain": 0.0, "kl": 0.0, "line_search_steps": 0}
    before, gradient, olds = torch.zeros(()), torch.zeros(()), []
    for steps, data in tasks:
        new = policy(adapt(theta, steps, settings, graph=True), data.observations, settings)
        olds.append(new.detach())
        loss = ratio_loss(new, data)
        gradient = gradient + flat_gradient(loss, theta) / len(tasks)
        before = before + loss.detach() / len(tasks)
    if not gradient.isfinite().all():
        return params, {**metrics, "outcome": "gradient not finite"}
    if not gradient.any():
        return params, {**metrics, "outcome": "gradient zero"}

    product = curvature_product(theta, tasks, settings, keep=keep)
    x = conjugate_gradient(product, gradient, settings.cg_iterations)
    quadratic = x @ product(x)
    if not 0 < quadratic < math.inf:
        return params, {**metrics, "outcome": "curvature not positive"}
    step = -x * (2 * settings.max_kl / quadratic).sqrt()  # ½ sᵀHs = max_kl

    for tried in range(1, settings.backtracks + 1):
        metrics["line_search_steps"] = tried
        candidate = moved(params, step)
        after, distance = measure(candidate, tasks, olds, settings)
        if after < before and distance <= settings.max_kl:
            gain = (before - after).item()
            metrics |= {"outcome": "accepted", "surrogate/gain": gain, "kl": distance.item()}
            return candidate, metrics
        step = step * settings.backtrack_ratio
    return params, {**metrics, "outcome": "no acceptable step"}


def curvature_product(
    theta: Params, tasks: Sequence[Any], settings: Settings, *, keep: bool
) -> Callable[[Tensor], Tensor]:
    """v [P] -> (H + damping) v, H being the Hessian of the mean KL, from where `theta` is."""

    def kl_gradient(steps: Sequence[Episodes], data: Episodes) -> Tensor:
        steps = [part(each, settings) for each in steps]
        states, mask = (spread(each, settings) for each in (data.observations, data.mask))
        new = policy(adapt(theta, steps, settings, graph=True), states, settings)
        return flat_gradient(mean(kl(new.detach(), new), mask), theta, graph=True)

    kept = [kl_gradient(*task) for task in tasks] if keep else None

    def product(v: Tensor) -> Tensor:
        image = settings.damping * v
        for gradient in kept or (kl_gradient(*task) for task in tasks):
            # H v is the gradient of (∇KL · v): a matrix of P x P is never there.
            image = image + flat_gradient(gradient @ v, theta, retain=keep) / len(tasks)
        return image

    return product


def part(data: Episodes, settings: Settings) -> Episodes:
    """The first of the episodes, at least one: curvature need not be exact."""
    count = max(1, round(settings.curvature_share * len(data.mask)))
    return Episodes(*(each[:count] for each in data))


def spread(leaf: Tensor, settings: Settings) -> Tensor:
    """Every so many time steps of all episodes: neighbors in time resemble each other."""
    return leaf[:, :: round(1 / settings.curvature_share)]


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """x with A x = b, of a matrix A that is known by its products only."""
    x, residual, direction = torch.zeros_like(b), b, b
    squared = b @ b
    floor = tolerance * squared
    for _ in range(iterations):
        if not squared > floor:
            break
        image = product(direction)
        curvature = direction @ image
        if not curvature > 0:
            break
        x = x + squared / curvature * direction
        residual = residual - squared / curvature * image
        previous, squared = squared, residual @ residual
        direction = residual + squared / previous * direction
    return x


def measure(
    params: Params, tasks: Sequence[Any], olds: Sequence[Normal], settings: Settings
) -> tuple[Tensor, Tensor]:
    """The outer loss and the KL from `olds`, means over tasks, of a candidate for θ."""
    losses, distances = [], []
    for (steps, data), old in zip(tasks, olds, strict=True):
        adapted = adapt(params, steps, settings)
        with torch.no_grad():
            new = policy(adapted, data.observations, settings)
            losses.append(ratio_loss(new, data))
            distances.append(mean(kl(old, new), data.mask))
    return torch.stack(losses).mean(), torch.stack(distances).mean()


def flat_gradient(
    value: Tensor, params: Params, *, graph: bool = False, retain: bool = False
) -> Tensor:
    """The gradient [P] of a scalar."""
    parts = torch.autograd.grad(
        value, list(params.values()), create_graph=graph, retain_graph=graph or retain
    )
    return torch.cat([each.flatten() for each in parts])


def moved(params: Params, step: Tensor) -> Params:
    """Parameters and a step [P], added."""
    pieces = step.split([value.numel() for value in params.values()])
    return {
        name: value.detach() + piece.view_as(value)
        for (name, value), piece in zip(params.items(), pieces, strict=True)
    }


# Advantages, of one task.


def with_advantages(data: Episodes, how: Estimate) -> Episodes:
    """Generalized advantage estimation, with values that are linear in features (Duan et al. 2016).

    The features, of an observation o at time t, are o, o², t, t², t³ and 1.
    """
    rewards, mask = data.rewards.double().numpy(), data.mask.double().numpy()
    values = np.zeros_like(rewards)
    if how.baseline:
        o = data.observations.double().numpy().clip(-10, 10)
        t = np.broadcast_to(np.arange(rewards.shape[1]) / 100, rewards.shape)[..., None]
        features = np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], -1)
        features *= mask[..., None]
        x, y = features.reshape(-1, features.shape[-1]), discounted(rewards, how.discount)
        weights = np.linalg.solve(x.T @ x + 1e-5 * np.eye(x.shape[1]), x.T @ (y * mask).ravel())
        values = features @ weights
    following = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], 1)
    deltas = (rewards + how.discount * following - values) * mask
    advantages = discounted(deltas, how.discount * how.gae_lambda) * mask
    if how.normalize:
        count = mask.sum()
        centered = (advantages - advantages.sum() / count) * mask
        advantages = centered / (np.sqrt((centered**2).sum() / count) + 1e-8)
    return data._replace(advantages=torch.from_numpy(advantages).to(data.rewards.dtype))


def discounted(x: np.ndarray, discount: float) -> np.ndarray:
    """y_t = x_t + discount · y_{t+1}, [B, T]."""
    y = np.zeros_like(x)
    carry = np.zeros(len(x))
    for t in range(x.shape[1] - 1, -1, -1):
        carry = x[:, t] + discount * carry
        y[:, t] = carry
    return y


# Tasks and episodes.


class Direction(gymnasium.Wrapper):
    """A half-cheetah that is paid for its velocity in one direction, set by `reset`."""

    sign = 1.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of the task `options["direction"]`, 1 or -1."""
        self.sign = options["direction"]
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Velocity in the direction, less the cost of the action."""
        observed, _, terminated, truncated, info = self.env.step(action)
        reward = self.sign * info["x_velocity"] + 0.5 * info["reward_ctrl"]
        return observed, reward, terminated, truncated, info


def make() -> gymnasium.Env:
    """A cheetah that acts every 0.01 s."""
    return Direction(gymnasium.make("HalfCheetah-v5", frame_skip=1, disable_env_checker=True))


@torch.no_grad()
def play(
    envs: Any, params: Params, direction: float, rng: np.random.Generator, settings: Settings
) -> Episodes:
    """B episodes of a task, in as many environments; advantages are 0."""
    seeds = rng.integers(2**31, size=settings.episodes).tolist()
    observed, _ = envs.reset(seed=seeds, options={"direction": direction})
    std = params["log_std"].clamp(min=settings.min_log_std).exp()
    rows = []
    for _ in range(settings.horizon):
        now = torch.from_numpy(observed).float()
        new = policy(params, now, settings)
        noise = torch.from_numpy(rng.standard_normal(new.mean.shape, dtype=np.float32))
        action = new.mean + std * noise
        observed, reward, *_ = envs.step(action.numpy().clip(-1, 1))
        rows.append((now, action, new.log_prob(action), torch.from_numpy(reward).float()))
    observations, actions, log_probs, rewards = map(torch.stack, zip(*rows, strict=True))
    columns = (observations, actions, log_probs, torch.zeros_like(rewards))
    columns += (torch.ones_like(rewards), rewards)
    return Episodes(*(column.movedim(0, 1) for column in columns))


def main(settings: Settings) -> Params:
    """Meta-train, printing the mean return before and after adaptation; return θ."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    envs = gymnasium.vector.SyncVectorEnv([make] * settings.episodes)
    shapes = envs.single_observation_space.shape, envs.single_action_space.shape
    params = initial_params(shapes[0][0], shapes[1][0], settings)
    # Half of the tasks each way: only two are different, but their episodes are.
    directions = [1.0 if task % 2 else -1.0 for task in range(settings.tasks)]
    began = time.monotonic()
    for iteration in range(settings.iterations):
        support, query = [], []
        for direction in directions:
            adapted, steps = params, []
            for _ in range(settings.inner_steps):
                played = play(envs, adapted, direction, rng, settings)
                steps.append(with_advantages(played, settings.inner_estimate))
                adapted = adapt(adapted, steps[-1:], settings)
            played = play(envs, adapted, direction, rng, settings)
            query.append(with_advantages(played, settings.outer_estimate))
            support.append(steps)
        params, metrics = update(params, support, query, settings)
        before = [steps[0].rewards.sum(1).mean().item() for steps in support if steps]
        after = [data.rewards.sum(1).mean().item() for data in query]
        print(
            f"iteration {iteration + 1}: return {np.mean(before or after):.1f} before adaptation, "
            f"{np.mean(after):.1f} after; KL {metrics['kl']:.4f}, {metrics['outcome']}; "
            f"{(time.monotonic() - began) / 60:.1f} min",
            flush=True,
        )
    envs.close()
    return params


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for each in fields(Settings):
        if isinstance(each.default, int | float):
            name = f"--{each.name.replace('_', '-')}"
            parser.add_argument(name, type=type(each.default), default=each.default)
    main(Settings(**vars(parser.parse_args())))
