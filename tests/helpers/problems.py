"""Problems with known answers, for every method to meet.

Quadratic tasks: L_i(φ) = ½ (φ - c_i)ᵀ A_i (φ - c_i). Gradient descent from θ with step α gives
φ_k - c = (I - αA)^k (θ - c), so adaptation, the meta-loss and its gradient have closed forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import gymnasium.vector
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rlmaml import losses, models, tree
from rlmaml.adjoints import first_order, unrolled
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import Objective, OuterLoss, over_tasks
from rlmaml.types import Data, Episodes, Examples, MetaBatch, Params


def at_end(loss: Callable[[Params, Data], Tensor]) -> OuterLoss:
    """MAML's outer loss: that of φ_K on the query data."""
    return lambda iterates, data: loss(iterates[-1], data.query)


class Quadratic(NamedTuple):
    """One task (or, stacked, N of them)."""

    curvature: Tensor  # [P, P], symmetric positive definite
    center: Tensor  # [P]


def quadratic_loss(params: Params, task: Quadratic) -> Tensor:
    shift = params["x"] - task.center
    return 0.5 * shift @ task.curvature @ shift


ADJOINTS = {"unrolled": unrolled, "first-order": first_order}


def plus(objective: Objective, term) -> Objective:
    """An objective with a term of the path added."""
    loss = objective.outer_loss
    return objective._replace(outer_loss=lambda path, data: loss(path, data) + term(path, data))


def end_loss(objective: Objective):
    """The outer loss as a function of the adapted parameters and the query data alone."""
    return lambda params, query: objective.outer_loss((params,), MetaBatch((), query))


def quadratics(count: int, size: int, seed: int = 0) -> Quadratic:
    """`count` tasks stacked, eigenvalues of A between about .2 and 2, float64."""
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(count, size, size, generator=rng, dtype=torch.float64)
    curvature = root @ root.mT / size + 0.2 * torch.eye(size, dtype=torch.float64)
    center = torch.randn(count, size, generator=rng, dtype=torch.float64)
    return Quadratic(curvature, center)


def one(stacked, index: int):
    """Task `index` of a stacked tree."""
    return tree.map(lambda leaf: leaf[index], stacked)


def random_episodes(
    policy,
    params: Params,
    *,
    tasks: int,
    episodes: int,
    horizon: int,
    observation_size: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episodes:
    """Episodes of random observations and advantages, acted on by `policy(params)`; ragged ends.

    Leaves [N, B, T, ...].
    """
    rng = np.random.default_rng(seed)
    shape = (tasks, episodes, horizon)
    observations = torch.from_numpy(rng.standard_normal((*shape, observation_size))).to(dtype)
    distribution = policy(params, observations)
    noise = torch.from_numpy(distribution.noise(rng, shape)).to(dtype)
    actions = distribution.sample(noise)
    lengths = torch.from_numpy(rng.integers(horizon // 2, horizon + 1, (tasks, episodes, 1)))
    mask = (torch.arange(horizon) < lengths).to(dtype)
    zeros = torch.zeros(shape, dtype=dtype)
    return Episodes(
        observations=observations,
        actions=actions,
        rewards=torch.from_numpy(rng.standard_normal(shape)).to(dtype) * mask,
        log_probs=distribution.log_prob(actions).detach() * mask,
        values=zeros,
        advantages=torch.from_numpy(rng.standard_normal(shape)).to(dtype) * mask,
        mask=mask,
        terminated=torch.zeros(shape[:2], dtype=dtype),
        final_observations=torch.zeros(*shape[:2], observation_size, dtype=dtype),
        diagnostics={"diverged": zeros},
    )


def random_batch(
    steps=1,
    *,
    tasks=5,
    episodes=4,
    horizon=6,
    hidden=(6,),
    kind=models.GaussianMLP,
    dtype=torch.float64,
    alpha=0.4,
):
    """An objective, its meta-parameters, and a batch collected at those parameters."""
    module = kind(3, 2, models.PolicyConfig(hidden=hidden, activation="tanh")).to(dtype)
    policy = models.functional(module)
    meta = {"params": models.parameters(module)}
    inner = gradient_descent(losses.log_likelihood(policy), alpha)
    objective = Objective(inner, unrolled, at_end(losses.likelihood_ratio(policy)), policy)
    stacked = over_tasks(policy)
    params, support = tree.repeat(meta["params"], tasks), []
    size = {"tasks": tasks, "episodes": episodes, "horizon": horizon, "observation_size": 3}
    size |= {"dtype": dtype}
    for k in range(steps):
        data = random_episodes(stacked, params, seed=k, **size)
        params = over_tasks(lambda p, d: inner.step(meta, p, d, 0))(params, data)
        support.append(data)
    query = random_episodes(stacked, params, seed=99, **size)
    return objective, meta, MetaBatch(tuple(support), query)


def mean_outer_loss(objective, meta, batch):
    """Task by task in a Python loop."""
    found = []
    for i in range(len(batch.query.targets)):
        data = one(batch, i)
        found.append(objective.outer_loss(adapt(objective.inner, meta, data.support), data))
    return torch.stack(found).mean()


class TargetEnv(gymnasium.Env):
    """A probe: two steps, observe the constant 1, reward -(a - goal)². The task is the goal.

    The best policy for a task outputs the goal, for a return of 0. `set_task` and `task_space`
    are all that meta-training asks of it.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-5.0, 5.0, (1,), np.float32)
    task_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self) -> None:
        self.task = np.zeros(1)

    def set_task(self, task) -> None:
        self.task = np.asarray(task)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.ones(1), {}

    def step(self, action):
        self.time += 1
        reward = -float((action - self.task)[0] ** 2)
        return np.ones(1), reward, self.time == 2, False, {}


class CorridorEnv(gymnasium.Env):
    """A probe with Discrete spaces and true ends: cells 0..4, start in the middle.

    Task 0 or 1 is the end that pays 1; the episode ends at either. The best policy always
    moves towards it, for a return of 1.
    """

    observation_space = gymnasium.spaces.Discrete(5)
    action_space = gymnasium.spaces.Discrete(2)
    task_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.task = 0

    def set_task(self, task) -> None:
        self.task = int(task)

    def sample_tasks(self, n, rng):
        return rng.permutation(np.arange(n) % 2)  # optional: half of each

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 2
        return self.cell, {}

    def step(self, action):
        self.cell += 2 * int(action) - 1
        ended = self.cell in (0, 4)
        return self.cell, float(ended and (self.cell == 4) == bool(self.task)), ended, False, {}


class Cosine(NamedTuple):
    """One task (or, stacked, N of them) that is not quadratic: L(x) = a Σ_j (1 - cos(x_j - c_j)).

    Its gradient and its Hessian are Lipschitz with the same constant a.
    """

    scale: Tensor  # scalar a
    center: Tensor  # [P]


def cosine_loss(params: Params, task: Cosine) -> Tensor:
    return task.scale * (1 - (params["x"] - task.center).cos()).sum()


def cosine_gradient(x: Tensor, task: Cosine) -> Tensor:
    """[P]."""
    return task.scale * (x - task.center).sin()


def cosine_hessian(x: Tensor, task: Cosine) -> Tensor:
    """The diagonal [P]; the rest is zero."""
    return task.scale * (x - task.center).cos()


def cosines(count: int, size: int, seed: int = 0) -> Cosine:
    """`count` tasks stacked, a in (.5, 1.5) and c standard normal, float64."""
    rng = torch.Generator().manual_seed(seed)
    scale = 0.5 + torch.rand(count, generator=rng, dtype=torch.float64)
    return Cosine(scale, torch.randn(count, size, generator=rng, dtype=torch.float64))


class Walk(gymnasium.vector.VectorEnv):
    """A probe whose episodes end early: points in the plane that a task wants at its goal.

    A step moves a point by a tenth of the action; within 0.2 of the goal an episode ends. Rewards
    are minus the distance. Starts are drawn around the origin, by the seeds of `reset`.

    Args:
        copies: M.
        horizon: time limit.
        mode: DISABLED (finished copies rest; `reset_mask` resets some) or SAME_STEP.
    """

    single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    single_action_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
    task_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    reached = 0.2

    def __init__(self, copies: int, horizon: int, mode=AutoresetMode.DISABLED) -> None:
        self.num_envs, self.horizon = copies, horizon
        self.metadata = {"autoreset_mode": mode}
        self.goals = self.points = np.zeros((copies, 2))
        self.rngs = [np.random.default_rng(i) for i in range(copies)]
        self.resting = np.zeros(copies, bool)
        self.times = np.zeros(copies, int)

    def set_tasks(self, tasks) -> None:
        self.goals = np.asarray(tasks, float)

    def reset(self, *, seed=None, options=None):
        chosen = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if seed is not None:
            self.rngs = [np.random.default_rng(s) for s in seed]
        self.resting = ~chosen
        self.points = np.where(chosen[:, None], self._starts(), self.points)
        self.times = np.where(chosen, 0, self.times)
        return self.points.copy(), {}

    def step(self, actions):
        self.points = np.where(self.resting[:, None], self.points, self.points + actions / 10)
        self.times = self.times + ~self.resting
        distances = np.linalg.norm(self.points - self.goals, axis=1)
        terminated = (distances < self.reached) & ~self.resting
        truncated = (self.times >= self.horizon) & ~self.resting & ~terminated
        ended, info = terminated | truncated, {}
        if self.metadata["autoreset_mode"] == AutoresetMode.DISABLED:
            self.resting = self.resting | ended
        elif ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(ended):
                final[i] = self.points[i]
            info = {"final_obs": final, "_final_obs": ended}
            self.points = np.where(ended[:, None], self._starts(), self.points)
            self.times = np.where(ended, 0, self.times)
        return self.points.copy(), -distances, terminated, truncated, info

    def _starts(self):
        return np.stack([rng.uniform(-0.1, 0.1, 2) for rng in self.rngs])


class Scripted(gymnasium.Env):
    """A probe whose k-th episode has `lengths[k]` steps, with reward 1 a step."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Box(-5.0, 5.0, (1,), np.float32)
    task_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, lengths) -> None:
        self.lengths, self.number, self.task = lengths, -1, np.zeros(1)

    def set_task(self, task) -> None:
        self.task = np.asarray(task)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.number = 0, self.number + 1
        return np.zeros(1), {}

    def step(self, action):
        self.time += 1
        return np.full(1, self.time), 1.0, self.time == self.lengths[self.number], False, {}


SUPERVISED = ("regression", "classification")


def supervised_problem(kind, *, tasks=4, shots=5, queries=7, steps=2, seed=0, adjoint=unrolled):
    """Random examples of 3 inputs, and an objective with its meta-parameters, in float64."""
    torch.manual_seed(seed)
    config = models.PolicyConfig(hidden=(6,), activation="tanh")
    make = models.RegressionMLP if kind == "regression" else models.CategoricalMLP
    policy = models.functional(module := make(3, 2, config).double())
    loss = (losses.mse if kind == "regression" else losses.cross_entropy)(policy)

    def examples(count):
        x = torch.randn(tasks, count, 3, dtype=torch.float64)
        if kind == "regression":
            return Examples(x, torch.randn(tasks, count, 2, dtype=torch.float64))
        return Examples(x, torch.randint(2, (tasks, count)))

    batch = MetaBatch((examples(shots),) * steps, examples(queries))
    objective = Objective(gradient_descent(loss, 0.3), adjoint, at_end(loss), policy)
    return objective, {"params": models.parameters(module)}, batch


class Waves:
    """A family of regressions: y = a sin(x - b), the task being (a, b)."""

    inputs = gymnasium.spaces.Box(-5.0, 5.0, (1,))
    outputs = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    space = gymnasium.spaces.Box(np.array([0.1, 0.0]), np.array([5.0, np.pi]), dtype=np.float64)

    def sample(self, n, rng, split="train"):
        return rng.uniform(self.space.low, self.space.high, (n, 2))

    def episode(self, tasks, shots, queries, rng):
        x = rng.uniform(-5, 5, (len(tasks), shots + queries, 1))
        y = tasks[:, None, :1] * np.sin(x - tasks[:, None, 1:])
        return (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:])
