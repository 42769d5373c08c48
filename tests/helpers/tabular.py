"""A world small enough that all trajectories and all inner batches can be written down.

With S states, A actions, H steps and a fixed first state there are A (S A)^(H-1) trajectories, 8
for S = A = H = 2, and multisets of n of them make all inner data sets. Every expectation is then
a finite sum, in float64. What is enumerated goes through the package's own losses, inner loop,
adjoints and objective; what it is compared with, J and V_n, is differentiated as a sum over
probabilities, with no surrogate in sight.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rlmaml import models, tree
from rlmaml.objective import Objective, meta_gradient, over_tasks
from rlmaml.returns import discounted_sum
from rlmaml.types import Episodes, MetaBatch

Estimate = Callable[[Episodes], Episodes]
"""Fills in the advantages of one task's episodes, leaves [n, T, ...]."""


class World(NamedTuple):
    """A Markov decision process; episodes start in state 0 and last at most `horizon` steps."""

    transitions: Tensor  # [S, A, S]
    rewards: Tensor  # [S, A]
    ends: Tensor  # [S, A]  1 where the episode ends with the action
    horizon: int

    @property
    def task(self) -> np.ndarray:
        """As a task of `rlmaml/TabularMDP-v0`, [S, A, S + 1]."""
        return torch.cat([self.transitions, self.rewards.unsqueeze(-1)], -1).numpy()


def world(
    seed: int = 0, *, states: int = 2, actions: int = 2, horizon: int = 2, ending: bool = False
) -> World:
    """Rewards are eighths, so that they are the same in float32. `ending`: the last action ends
    the episode in state 0."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states), (states, actions))
    rewards = rng.integers(-8, 9, (states, actions)) / 8
    ends = torch.zeros(states, actions, dtype=torch.float64)
    ends[0, -1] = ending
    return World(torch.from_numpy(transitions), torch.from_numpy(rewards), ends, horizon)


def small_policy(world: World, *, hidden: tuple[int, ...] = (3,), seed: int = 0):
    """A softmax policy on one-hot states, float64, and its parameters."""
    states, actions = world.rewards.shape
    torch.manual_seed(seed)
    config = models.PolicyConfig(hidden=hidden, activation="tanh")
    module = models.CategoricalMLP(states, actions, config).double()
    functional = models.functional(module)

    def policy(params, observations):  # the sampler's observations are float32
        return functional(params, observations.double())

    return policy, models.parameters(module)


class Trajectories(NamedTuple):
    """All M trajectories of a world."""

    episodes: Episodes  # leaves [M, T, ...]; advantages are the returns from each step on
    law: Tensor  # [M]  the product of the transition probabilities along each


def trajectories(world: World, dtype: torch.dtype = torch.float64) -> Trajectories:
    """Padded with state and action 0 after an end."""
    states, actions = world.rewards.shape
    rows = []
    for chosen in itertools.product(range(actions), repeat=world.horizon):
        for visited in itertools.product(range(states), repeat=world.horizon - 1):
            rows.append(((0, *visited), chosen))
    s = torch.tensor([row[0] for row in rows])
    a = torch.tensor([row[1] for row in rows])
    going_on = (1 - world.ends[s, a]).cumprod(-1)  # after each step
    mask = torch.cat([torch.ones(len(rows), 1), going_on[:, :-1]], -1)
    distinct = (mask + (s == 0) * (a == 0)).amin(-1) > 0
    s, a, mask, going_on = s[distinct], a[distinct], mask[distinct], going_on[distinct]
    moves = world.transitions[s[:, :-1], a[:, :-1], s[:, 1:]]
    law = torch.where(mask[:, 1:] > 0, moves, 1.0).prod(-1)
    mask, terminated = mask.to(dtype), 1 - going_on[:, -1].to(dtype)
    rewards = world.rewards[s, a].to(dtype) * mask
    return Trajectories(
        Episodes(
            observations=torch.eye(states, dtype=dtype)[s],
            actions=a,
            rewards=rewards,
            log_probs=torch.zeros(s.shape, dtype=torch.float64),  # whoever samples fills them in
            values=torch.zeros_like(mask),
            advantages=discounted_sum(rewards, 1.0),
            mask=mask,
            terminated=terminated,
            final_observations=torch.zeros(len(s), states, dtype=dtype),
            diagnostics={"diverged": torch.zeros_like(mask)},
        ),
        law,
    )


def magic_box(x: Tensor) -> Tensor:
    """☐(x) = exp(x - stop_gradient(x)): 1, with ∇☐(x) = ☐(x) ∇x (Foerster et al. 2018)."""
    return (x - x.detach()).exp()


def log_probs(policy, params, episodes: Episodes) -> Tensor:
    """[..., T], 0 on padding."""
    return policy(params, episodes.observations).log_prob(episodes.actions) * episodes.mask


def probabilities(policy, params, every: Trajectories) -> Tensor:
    """Of all trajectories under a policy, [M]; differentiable."""
    return every.law * log_probs(policy, params, every.episodes).sum(-1).exp()


def expected_return(policy, params, every: Trajectories) -> Tensor:
    """J, by its definition."""
    return probabilities(policy, params, every) @ every.episodes.rewards.sum(-1).double()


class DataSets(NamedTuple):
    """All multisets of n out of M trajectories."""

    indices: Tensor  # [D, n]
    orders: Tensor  # [D]  in how many orders each can be drawn

    def probabilities(self, p: Tensor) -> Tensor:
        """Of each, [D], from those of the trajectories [M]."""
        return self.orders * p[self.indices].prod(-1)


def data_sets(n: int, count: int) -> DataSets:
    rows = list(itertools.combinations_with_replacement(range(count), n))
    orders = []
    for row in rows:
        repeats = [math.factorial(row.count(i)) for i in set(row)]
        orders.append(math.factorial(n) / math.prod(repeats))
    return DataSets(torch.tensor(rows), torch.tensor(orders, dtype=torch.float64))


def adapted_return(
    policy,
    inner,
    every: Trajectories,
    n: int,
    steps: int = 1,
    estimate: Estimate = lambda episodes: episodes,
):
    """θ [meta] -> V_n(θ) = E J(φ_K): the expectation over all data sets of n, K of them in turn."""
    sets = data_sets(n, len(every.law))

    def value(meta, params, k) -> Tensor:
        if k == steps:
            return expected_return(policy, params, every)

        def one(indices):
            data = estimate(tree.map(lambda leaf: leaf[indices], every.episodes))
            return value(meta, inner.step(meta, params, data, k), k + 1)

        weights = sets.probabilities(probabilities(policy, params, every))
        return weights @ torch.func.vmap(one)(sets.indices)

    return lambda meta: value(meta, inner.start(meta), 0)


class Rows(NamedTuple):
    """Meta-batches in the making, leaves [R, ...]."""

    params: dict[str, Tensor]  # of the policies that sample next
    drawn: tuple[Episodes, ...]  # the data sets so far, in order
    weights: Tensor  # [R]  their probability


def every_batch(
    policy,
    inner,
    meta,
    every: Trajectories,
    *,
    n: int,
    steps: int = 1,
    outer: int = 1,
    separate_hessian: bool = False,
    estimate: Estimate = lambda episodes: episodes,
    outer_estimate: Estimate = lambda episodes: episodes,
) -> tuple[MetaBatch, Tensor]:
    """All meta-batches of one task: K data sets of n, then `outer` episodes of the adapted policy.

    Returns:
        The batches as rows, leaves [R, ...], and their probabilities [R].
    """

    sizes = {count: data_sets(count, len(every.law)) for count in (n, outer)}

    def draw(rows: Rows, count: int, fill: Estimate) -> Rows:
        """Every data set that each row's policy can sample, as rows of their own."""
        sets = sizes[count]

        def one(params):
            logs = log_probs(policy, params, every.episodes)
            episodes = every.episodes._replace(log_probs=logs)
            p = sets.probabilities(every.law * logs.sum(-1).exp())
            return tree.map(lambda leaf: leaf[sets.indices], episodes), p

        data, p = over_tasks(one)(rows.params)
        data = over_tasks(over_tasks(fill))(data)
        old = torch.arange(len(p)).repeat_interleave(p.shape[1])
        params, drawn = tree.map(lambda leaf: leaf[old], (rows.params, rows.drawn))
        flat = tree.map(lambda leaf: leaf.flatten(0, 1), data)
        return Rows(params, (*drawn, flat), rows.weights[old] * p.flatten())

    with torch.no_grad():
        start = tree.repeat(inner.start(meta), 1)
        rows = Rows(start, (), torch.ones(1, dtype=torch.float64))
        for k in range(steps):
            rows = draw(rows, n, estimate)
            if separate_hessian:
                rows = draw(rows, n, estimate)
            support = rows.drawn[-1 - separate_hessian]
            params = over_tasks(lambda p, d, k=k: inner.step(meta, p, d, k))(rows.params, support)
            rows = rows._replace(params=params)
        rows = draw(rows, outer, outer_estimate)
    *sets, query = rows.drawn
    apart = 1 + separate_hessian
    hessian = tuple(sets[1::2]) if separate_hessian else ()
    return MetaBatch(tuple(sets[::apart]), query, hessian), rows.weights


def expected_gradient(objective: Objective, meta, batch: MetaBatch, weights: Tensor) -> Tensor:
    """Σ_r w_r g_r of the package's meta-gradients of single rows.

    A row's gradient is linear in its outer advantages and its credit, so the weights go there, and
    the package's mean over rows does the rest.
    """
    scale = len(weights) * weights
    advantages = batch.query.advantages.double() * scale[:, None, None]
    batch = batch._replace(query=batch.query._replace(advantages=advantages))
    if not isinstance(batch.credit, tuple):
        batch = batch._replace(credit=batch.credit * scale)
    return meta_gradient(objective, meta, batch)[1]


class WorldEnv(gymnasium.Env):
    """A world as an environment with nothing batched about it; its only task is itself."""

    task_space = gymnasium.spaces.Discrete(1)

    def __init__(self, world: World) -> None:
        states, actions = world.rewards.shape
        self.world = World(*(field.numpy() for field in world[:3]), world.horizon)
        self.observation_space = gymnasium.spaces.Discrete(states)
        self.action_space = gymnasium.spaces.Discrete(actions)

    def set_task(self, task) -> None:
        pass

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.time = 0
        return self.state, {}

    def step(self, action):
        here = (self.state, int(action))
        self.state = int(
            self.np_random.choice(len(self.world.ends), p=self.world.transitions[here])
        )
        self.time += 1
        late = self.time == self.world.horizon
        return self.state, float(self.world.rewards[here]), bool(self.world.ends[here]), late, {}
