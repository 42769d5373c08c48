"""One meta-iteration of TRPO-MAML the way the older packages do it: the baseline of comparisons.

Tasks in a Python loop, for policies, inner steps, losses and curvature; single environments stepped
one after the other, in this process or in one worker per core; a NumPy baseline; the curvature of
the KL by differentiating twice through the adaptation. That is how the packages of the MAML and
ProMP papers and their successors in PyTorch go about it, without what makes some of them slower
than they need be: environments are made once and half-cheetahs are gymnasium's own, policies act on
all episodes of a task at once, sampling and the line search record no graph.

It shares no code with the engine of `rlmaml` but settings, the keys of random draws and the clock.
So the same seed gives both the same tasks and noise, and `same_update` and
tests/benchmarks/test_plain.py hold the one against the other. Simulations that diverge get no
treatment of their own here.

Shapes: N tasks, B episodes, T time steps, O observation and A action entries; a task's data has no
N, data of several tasks is a list of them. Parameters are those of `models.GaussianMLP`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.plain_environments import Processes, Sync
from envs.locomotion.mujoco_utils import available_cpus
from rlmaml.config import AdvantageConfig, PolicyConfig, TrainConfig
from rlmaml.profiling import recorded, timer
from rlmaml.rng import Phase, generator

Params = dict[str, Tensor]
Sampling = Literal["sync", "processes"]
Curvature = Literal["redone", "kept"]
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "elu": functional.elu}


class TaskData(NamedTuple):
    """B episodes of one task; everything is 0 where the mask is."""

    observations: Tensor  # [B, T, O]
    actions: Tensor  # [B, T, A]  as drawn
    log_probs: Tensor  # [B, T]  of the policy that acted
    advantages: Tensor  # [B, T]
    mask: Tensor  # [B, T]  1 while the episode lasts
    rewards: Tensor  # [B, T]


# Policy and losses, of one task.


class Normal(NamedTuple):
    mean: Tensor  # [..., A]
    log_std: Tensor  # [A]

    def log_prob(self, actions: Tensor) -> Tensor:
        standardized = (actions - self.mean) * (-self.log_std).exp()
        return -(0.5 * standardized**2 + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def detach(self) -> Normal:
        return Normal(self.mean.detach(), self.log_std.detach())


def kl(old: Normal, new: Normal) -> Tensor:
    """KL(old ‖ new), [...]."""
    squares = (2 * old.log_std).exp() + (old.mean - new.mean) ** 2
    return (new.log_std - old.log_std + 0.5 * squares * (-2 * new.log_std).exp() - 0.5).sum(-1)


def policy(params: Params, observations: Tensor, config: PolicyConfig) -> Normal:
    x, last = observations, len(config.hidden)
    for layer in range(last + 1):
        name = f"mean.{2 * layer}"
        x = functional.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])
        if layer < last:
            x = ACTIVATIONS[config.activation](x)
    return Normal(x, params["log_std"].clamp(min=config.min_log_std))


def mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over valid steps."""
    return (x * mask).sum() / mask.sum()


def ratio_loss(new: Normal, data: TaskData) -> Tensor:
    """-mean π/π_old Â."""
    log_ratio = (new.log_prob(data.actions) - data.log_probs) * data.mask
    return -mean(log_ratio.exp() * data.advantages, data.mask)


def inner_loss(new: Normal, data: TaskData, surrogate: str) -> Tensor:
    if surrogate == "lvc":
        return ratio_loss(new, data)
    return -mean(new.log_prob(data.actions) * data.advantages, data.mask)


def adapt(
    params: Params, support: Sequence[TaskData], config: TrainConfig, *, first: int = 0, graph: bool
) -> Params:
    """Inner steps number `first` and on, one for each entry of `support`.

    Args:
        graph: keep the graph, to differentiate through; or else return leaves.
    """
    if not graph:
        params = leaves(params)
    for k, data in enumerate(support, first):
        new = policy(params, data.observations, config.policy)
        loss = inner_loss(new, data, config.inner.surrogate)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=graph)
        size = config.inner.size(k)
        params = {
            name: value - size * gradient
            for (name, value), gradient in zip(params.items(), gradients, strict=True)
        }
        if not graph:
            params = leaves(params)
    return params


# The outer step: TRPO.


def update(
    params: Params,
    support: Sequence[Sequence[TaskData]],
    query: Sequence[TaskData],
    config: TrainConfig,
    *,
    curvature: Curvature = "redone",
    fraction: float = 1.0,
) -> tuple[Params, dict[str, Any]]:
    """One outer step, from `config.trust_region` but for its `fisher_fraction`.

    Args:
        params: those that the data was collected with.
        support: of each of N tasks, of each of K inner steps.
        query: of each of N tasks.
        curvature: whether every curvature product adapts anew, as TensorFlow's graphs and the first
            packages in PyTorch do, with the memory of one task at a time; or the graph of the KL's
            gradient is kept for all products, as later ones do, with that of all N.
        fraction: share of the episodes in curvature products, both support and query.

    Returns:
        New parameters, and "outcome", "surrogate/gain", "kl" and "line_search_steps", which mean
        what they do for `rlmaml.outer.trust_region.update`.
    """
    check(config)
    region = config.trust_region
    theta, tasks = leaves(params), list(zip(support, query, strict=True))
    metrics: dict[str, Any] = {"surrogate/gain": 0.0, "kl": 0.0, "line_search_steps": 0}
    before, gradient, olds = torch.zeros(()), torch.zeros(()), []
    for steps, data in tasks:
        adapted = adapt(theta, steps, config, graph=True)
        new = policy(adapted, data.observations, config.policy)
        olds.append(new.detach())
        loss = ratio_loss(new, data)
        gradient = gradient + flat_gradient(loss, theta) / len(tasks)
        before = before + loss.detach() / len(tasks)
    if not gradient.isfinite().all():
        return params, {**metrics, "outcome": "gradient not finite"}
    if not gradient.any():
        return params, {**metrics, "outcome": "gradient zero"}

    parts = [([part(s, fraction) for s in steps], part(data, fraction)) for steps, data in tasks]
    product = curvature_product(theta, parts, config, curvature)
    x = conjugate_gradient(product, gradient, region.cg_iterations)
    quadratic = x @ product(x)
    if not 0 < quadratic < math.inf:
        return params, {**metrics, "outcome": "curvature not positive"}
    step = -x * (2 * region.max_kl / quadratic).sqrt()

    for tried in range(1, region.backtracks + 1):
        metrics["line_search_steps"] = tried
        candidate = moved(params, step)
        after, distance = measure(candidate, tasks, olds, config)
        if after < before and distance <= region.max_kl:
            gain = (before - after).item()
            metrics |= {"outcome": "accepted", "surrogate/gain": gain, "kl": distance.item()}
            return candidate, metrics
        step = step * region.backtrack_ratio
    return params, {**metrics, "outcome": "no acceptable step"}


def curvature_product(
    theta: Params, tasks: list[Any], config: TrainConfig, way: Curvature
) -> Callable[[Tensor], Tensor]:
    """v [P] -> (Hessian of the mean KL + damping) v, the KL being from where `theta` is."""

    def kl_gradient(steps: Sequence[TaskData], data: TaskData) -> Tensor:
        adapted = adapt(theta, steps, config, graph=True)
        new = policy(adapted, data.observations, config.policy)
        return flat_gradient(mean(kl(new.detach(), new), data.mask), theta, graph=True)

    kept = [kl_gradient(*task) for task in tasks] if way == "kept" else None

    def product(v: Tensor) -> Tensor:
        image = config.trust_region.damping * v
        for gradient in kept or (kl_gradient(*task) for task in tasks):
            image = image + flat_gradient(gradient @ v, theta, retain=bool(kept)) / len(tasks)
        return image

    return product


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
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
    params: Params, tasks: list[Any], olds: list[Normal], config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """The outer loss and the KL from `olds`, means over tasks."""
    losses, distances = [], []
    for (steps, data), old in zip(tasks, olds, strict=True):
        adapted = adapt(params, steps, config, graph=False)
        with torch.no_grad():
            new = policy(adapted, data.observations, config.policy)
            losses.append(ratio_loss(new, data))
            distances.append(mean(kl(old, new), data.mask))
    return torch.stack(losses).mean(), torch.stack(distances).mean()


def leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def flat_gradient(
    value: Tensor, params: Params, *, graph: bool = False, retain: bool = False
) -> Tensor:
    parts = torch.autograd.grad(
        value, list(params.values()), create_graph=graph, retain_graph=graph or retain
    )
    return torch.cat([piece.flatten() for piece in parts])


def moved(params: Params, step: Tensor) -> Params:
    pieces = step.split([value.numel() for value in params.values()])
    return {
        name: value.detach() + piece.view_as(value)
        for (name, value), piece in zip(params.items(), pieces, strict=True)
    }


def part(data: TaskData, fraction: float) -> TaskData:
    """The first of the episodes, at least one."""
    count = max(1, round(fraction * len(data.mask)))
    return TaskData(*(field[:count] for field in data))


# Advantages, of one task.


def with_advantages(data: TaskData, config: AdvantageConfig) -> TaskData:
    rewards, mask = data.rewards.double().numpy(), data.mask.double().numpy()
    values = np.zeros_like(rewards)
    if config.baseline == "linear":
        o = data.observations.double().numpy().clip(-10, 10)
        t = np.broadcast_to(np.arange(rewards.shape[1]) / 100, rewards.shape)[..., None]
        features = np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], -1)
        features *= mask[..., None]
        x, y = features.reshape(-1, features.shape[-1]), discounted(rewards, config.discount)
        weights = np.linalg.solve(x.T @ x + 1e-5 * np.eye(x.shape[1]), x.T @ (y * mask).ravel())
        values = features @ weights
    following = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], 1)
    deltas = (rewards + config.discount * following - values) * mask
    advantages = discounted(deltas, config.discount * config.gae_lambda) * mask
    if config.normalize:
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


# Sampling.


@torch.no_grad()
def roll_out(
    envs: Sync | Processes,
    params: Sequence[Params],
    tasks: np.ndarray,
    rngs: Sequence[np.random.Generator],
    space: gymnasium.spaces.Box,
    config: TrainConfig,
) -> list[TaskData]:
    """Episodes of G tasks, with parameters and a generator for each; advantages are 0."""
    g, b, horizon, size = len(tasks), config.episodes, config.horizon, space.shape[0]
    seeds = np.stack([rng.integers(2**31, size=b) for rng in rngs])
    drawn = [rng.standard_normal((horizon, b, size), dtype=np.float32) for rng in rngs]
    noise = torch.from_numpy(np.stack(drawn, 1))
    observed = envs.reset(tasks, seeds)
    # Time first, so that a step writes to one place.
    observations = torch.zeros(horizon, g, b, observed.shape[-1])
    actions, means = torch.zeros(2, horizon, g, b, size)
    rewards, mask = torch.zeros(2, horizon, g, b)
    log_std = torch.stack([p["log_std"] for p in params]).clamp(min=config.policy.min_log_std)
    std, going = log_std.exp(), np.ones((g, b), bool)
    for t in range(horizon):
        observations[t], mask[t] = torch.from_numpy(observed), torch.from_numpy(going)
        for i in range(g):
            means[t, i] = policy(params[i], observations[t, i], config.policy).mean
            actions[t, i] = means[t, i] + std[i] * noise[t, i]
        clipped = actions[t].numpy().clip(space.low, space.high)
        observed, reward, ended = envs.step(clipped)
        rewards[t] = torch.from_numpy(reward)
        going &= ~ended
        if not going.any():
            break
    log_probs = Normal(means, log_std[:, None]).log_prob(actions) * mask
    observations, actions = observations * mask[..., None], actions * mask[..., None]
    fields = observations, actions, log_probs, torch.zeros_like(mask), mask, rewards
    taskwise = (field.movedim(0, 2).contiguous() for field in fields)
    return [TaskData(*rows) for rows in zip(*taskwise, strict=True)]


class Plain:
    """The baseline, ready to run meta-iterations of a configuration.

    Args:
        config: of a run with episodes.
        sampling: "sync" steps the B episodes of one task by a `SyncVectorEnv`, one task after the
            other; "processes" those of all tasks, by workers that hold some of the tasks each.
        processes: how many workers; None is one per CPU.
        curvature, fraction: as for `update`.

    Attributes:
        metrics: of the last update.

    Raises:
        ValueError: the configuration asks for something that is not here.
    """

    def __init__(
        self,
        config: TrainConfig,
        sampling: Sampling,
        processes: int | None = None,
        *,
        curvature: Curvature = "redone",
        fraction: float = 1.0,
    ) -> None:
        check(config)
        self.config, self.sampling = config, sampling
        self.metrics: dict[str, Any] = {}
        self._update = partial(update, config=config, curvature=curvature, fraction=fraction)
        self._one = gymnasium.make(config.env.id, **config.env.kwargs)  # to sample tasks
        self._space: Any = self._one.action_space
        self._threads = config.threads or available_cpus()
        if sampling == "sync":
            self._world: Sync | Processes = Sync(config)
        else:
            self._world = Processes(config, processes or available_cpus())

    def tasks(self, iteration: int) -> np.ndarray:
        """Tasks of an iteration, [N, ...]."""
        rng = generator(self.config.seed, iteration, Phase.TASKS)
        family: Any = self._one.unwrapped
        return family.sample_tasks(self.config.tasks, rng)

    def sample(self, params: Sequence[Params], iteration: int, k: int) -> list[TaskData]:
        """Episodes of every task, with its parameters after k inner steps; advantages are 0."""
        tasks, key = self.tasks(iteration), (self.config.seed, iteration, Phase.ROLLOUT + k)
        rngs = [generator(*key, i) for i in range(len(tasks))]
        torch.set_num_threads(1)  # more only get into the way of a few rows of observations
        try:
            if self.sampling == "processes":
                return roll_out(self._world, params, tasks, rngs, self._space, self.config)
            return [
                roll_out(self._world, [p], task[None], [rng], self._space, self.config)[0]
                for p, task, rng in zip(params, tasks, rngs, strict=True)
            ]
        finally:
            torch.set_num_threads(self._threads)

    def collect(
        self, params: Params, iteration: int
    ) -> tuple[list[list[TaskData]], list[TaskData], dict[str, float]]:
        """Support data [task][inner step], query data [task], and the seconds they took."""
        config = self.config

        def episodes(k: int, how: AdvantageConfig) -> list[TaskData]:
            with timer("sampling"):
                sampled = self.sample(adapted, iteration, k)
            with timer("advantages"):
                return [with_advantages(data, how) for data in sampled]

        adapted, support = [params] * config.tasks, []
        with recorded() as seconds:
            for k in range(config.inner.steps):
                support.append(episodes(k, config.inner_advantages))
                with timer("adaptation"):
                    adapted = [
                        adapt(p, [data], config, first=k, graph=False)
                        for p, data in zip(adapted, support[k], strict=True)
                    ]
            query = episodes(config.inner.steps, config.outer_advantages)
        return by_task(support, config.tasks), query, seconds

    def iteration(self, params: Params, iteration: int) -> tuple[Params, dict[str, float]]:
        """One meta-iteration: the new parameters, and seconds by what they were spent on."""
        with recorded() as seconds:
            support, query, _ = self.collect(params, iteration)
            with timer("update"):
                new, self.metrics = self._update(params, support, query)
        return new, seconds

    def close(self) -> None:
        self._one.close()
        self._world.close()


def by_task(support: list[list[TaskData]], tasks: int) -> list[list[TaskData]]:
    """[inner step][task] -> [task][inner step]."""
    return [[data[i] for data in support] for i in range(tasks)]


KNOWN = {
    "algorithm": ("maml",),
    "data": ("episodes",),
    "outer": ("trust-region",),
    "outer_reduction": ("steps",),
    "inner.surrogate": ("lvc", "log-likelihood"),
    "inner.reduction": ("steps",),
    "inner.hessian": ("support",),
    "inner_advantages.bootstrap": (False,),
    "outer_advantages.bootstrap": (False,),
    "normalize_observations": (False,),
    "env.observe_task": (False,),
    "device": ("cpu",),
}
"""Values that options may have here."""


def check(config: TrainConfig) -> None:
    """Raise ValueError where a configuration asks for more than is here."""
    for name, known in KNOWN.items():
        value = operator.attrgetter(name)(config)
        if value not in known:
            raise ValueError(f"the plain implementation has no {name} {value}, only {known}")


def of_episodes(episodes: Any) -> list[TaskData]:
    """The engine's episodes of N tasks, leaves [N, B, ...], as here."""
    fields = (getattr(episodes, name) for name in TaskData._fields)
    return [TaskData(*rows) for rows in zip(*fields, strict=True)]


def same_update(config: TrainConfig, **options: Any) -> float:
    """Measure how far this update is from the engine's, on a meta-batch of it, in float64.

    Args:
        config: of a small run.
        options: of `update`.

    Returns:
        The largest difference of the parameters' change, as a share of the largest change.

    Raises:
        ValueError: one of them took no step, so there is nothing to compare.
    """
    from rlmaml import tree
    from runners.environments import build_experiment
    from runners.training.train import meta_batch

    config = replace(config, trust_region=replace(config.trust_region, fisher_fraction=1.0))
    experiment = build_experiment(config)
    state = experiment.algorithm.init(experiment.params)
    batch = meta_batch(experiment, config, state.meta, 0)
    experiment.close()
    start, batch = tree.map(torch.Tensor.double, (experiment.params, batch))
    ours, theirs = experiment.algorithm.update(experiment.algorithm.init(start), batch)
    steps = [of_episodes(episodes) for episodes in batch.support]
    support = by_task(steps, config.tasks)
    new, metrics = update(start, support, of_episodes(batch.query), config, **options)
    if {theirs["outcome"], metrics["outcome"]} != {"accepted"}:
        raise ValueError(f"outcomes are {theirs['outcome']!r} and {metrics['outcome']!r}")
    changes = [
        torch.cat([(moved[name] - start[name]).flatten() for name in start])
        for moved in (ours.meta["params"], new)
    ]
    return ((changes[0] - changes[1]).abs().max() / changes[0].abs().max()).item()
