"""One meta-iteration of TRPO-MAML the way the older packages do it: the baseline of comparisons.

The policy, advantages, inner steps and the update are those of `examples/maml_trpo.py`: tasks in a
Python loop, autograd, the curvature of the KL by differentiating twice through the adaptation. Here
single environments of any preset are stepped one after the other, in this process or in one worker
per core. That is how the packages of the MAML and ProMP papers and their successors in PyTorch go
about it, without what makes some of them slower than they need be: environments are made once and
half-cheetahs are gymnasium's own, policies act on all episodes of a task at once, sampling and the
line search record no graph.

It shares no code with the engine of `rlmaml` but settings, the keys of random draws and the clock.
So the same seed gives both the same tasks and noise, and `same_update` and
tests/benchmarks/test_plain.py hold the one against the other. Simulations that diverge get no
treatment of their own here.

Shapes: N tasks, B episodes, T time steps, O observation and A action entries; a task's data has no
N, data of several tasks is a list of them. Parameters are those of `models.GaussianMLP`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np
import torch

from benchmarks.plain_environments import Processes, Sync
from envs.locomotion.mujoco_utils import available_cpus
from examples import maml_trpo
from examples.maml_trpo import Episodes, Estimate, Normal, Params, Settings, adapt, policy
from rlmaml.config import AdvantageConfig, TrainConfig
from rlmaml.profiling import recorded, timer
from rlmaml.rng import Phase, generator

Sampling = Literal["sync", "processes"]
Curvature = Literal["redone", "kept"]


def settings_of(config: TrainConfig, fraction: float = 1.0) -> Settings:
    """A run's settings as `examples/maml_trpo.py` has them.

    Args:
        config: the run's.
        fraction: share of the data in curvature products, in place of `fisher_fraction`.
    """
    region, inner, network = config.trust_region, config.inner, config.policy
    return Settings(
        seed=config.seed,
        iterations=config.iterations,
        tasks=config.tasks,
        episodes=config.episodes,
        horizon=config.horizon,
        inner_steps=inner.steps,
        step_size=inner.step_size,
        surrogate=inner.surrogate,
        max_kl=region.max_kl,
        damping=region.damping,
        cg_iterations=region.cg_iterations,
        curvature_share=fraction,
        backtracks=region.backtracks,
        backtrack_ratio=region.backtrack_ratio,
        hidden=network.hidden,
        activation=network.activation,
        min_log_std=network.min_log_std,
        inner_estimate=estimate_of(config.inner_advantages),
        outer_estimate=estimate_of(config.outer_advantages),
    )


def estimate_of(how: AdvantageConfig) -> Estimate:
    """Settings of advantages as `examples/maml_trpo.py` has them."""
    return Estimate(how.discount, how.gae_lambda, how.baseline == "linear", how.normalize)


def update(
    params: Params,
    support: Sequence[Sequence[Episodes]],
    query: Sequence[Episodes],
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
        config: the run's.
        curvature: whether every curvature product adapts anew, as TensorFlow's graphs and the first
            packages in PyTorch do, with the memory of one task at a time; or the graph of the KL's
            gradient is kept for all products, as later ones do, with that of all N.
        fraction: share of the data in curvature products.

    Returns:
        New parameters, and "outcome", "surrogate/gain", "kl" and "line_search_steps", which mean
        what they do for `rlmaml.outer.trust_region.update`.
    """
    check(config)
    settings = settings_of(config, fraction)
    return maml_trpo.update(params, support, query, settings, keep=curvature == "kept")


@torch.no_grad()
def roll_out(
    envs: Sync | Processes,
    params: Sequence[Params],
    tasks: np.ndarray,
    rngs: Sequence[np.random.Generator],
    space: gymnasium.spaces.Box,
    config: TrainConfig,
) -> list[Episodes]:
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
    settings = settings_of(config)
    log_std = torch.stack([p["log_std"] for p in params]).clamp(min=config.policy.min_log_std)
    std, going = log_std.exp(), np.ones((g, b), bool)
    for t in range(horizon):
        observations[t], mask[t] = torch.from_numpy(observed), torch.from_numpy(going)
        for i in range(g):
            means[t, i] = policy(params[i], observations[t, i], settings).mean
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
    return [Episodes(*rows) for rows in zip(*taskwise, strict=True)]


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

    def sample(self, params: Sequence[Params], iteration: int, k: int) -> list[Episodes]:
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
    ) -> tuple[list[list[Episodes]], list[Episodes], dict[str, float]]:
        """Support data [task][inner step], query data [task], and the seconds they took."""
        config = self.config

        def episodes(k: int, how: AdvantageConfig) -> list[Episodes]:
            with timer("sampling"):
                sampled = self.sample(adapted, iteration, k)
            with timer("advantages"):
                return [maml_trpo.with_advantages(data, estimate_of(how)) for data in sampled]

        adapted, support = [params] * config.tasks, []
        with recorded() as seconds:
            for k in range(config.inner.steps):
                support.append(episodes(k, config.inner_advantages))
                with timer("adaptation"):
                    adapted = [
                        adapt(p, [data], settings_of(config))
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


def by_task(support: list[list[Episodes]], tasks: int) -> list[list[Episodes]]:
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
    "inner_advantages.baseline": ("linear", "none"),
    "outer_advantages.baseline": ("linear", "none"),
    "inner_advantages.bootstrap": (False,),
    "outer_advantages.bootstrap": (False,),
    "normalize_observations": (False,),
    "env.observe_task": (False,),
    "device": ("cpu",),
}
"""Values that options may have here."""
_OF_PRESETS = ("normalize_observations", "inner_advantages.baseline", "outer_advantages.baseline")
NEAREST = {name: KNOWN[name][0] for name in _OF_PRESETS}
"""Options that presets may have otherwise, with values that are known here."""


def check(config: TrainConfig) -> None:
    """Raise ValueError where a configuration asks for more than is here."""
    for name, known in KNOWN.items():
        value = operator.attrgetter(name)(config)
        if value not in known:
            raise ValueError(f"the plain implementation has no {name} {value}, only {known}")


def of_episodes(episodes: Any) -> list[Episodes]:
    """The engine's episodes of N tasks, leaves [N, B, ...], as here."""
    fields = (getattr(episodes, name) for name in Episodes._fields)
    return [Episodes(*rows) for rows in zip(*fields, strict=True)]


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
