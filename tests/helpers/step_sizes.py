"""What the tests of methods that learn step sizes share."""

import numpy as np
import torch

from rlmaml import models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import MetaBatch
from tests.helpers.problems import TargetEnv, quadratic_loss, quadratics, random_batch

ALPHA = 0.3


def on_quadratics(kind, settings=None, *, steps=1, outer=None, **inner):
    """A method on quadratic tasks, its state at a random point, and a batch: 4 tasks of size 5."""
    tasks = quadratics(4, 5)
    method = kind(
        None,
        InnerConfig(steps=steps, step_size=ALPHA, **inner),
        outer or Optimizer("SGD", learning_rate=0.1),
        settings,
        inner_loss=lambda policy: quadratic_loss,
        outer_loss=lambda policy: quadratic_loss,
    )
    state = method.init({"x": torch.randn(5, dtype=torch.float64)})
    return method, state, MetaBatch((tasks,) * steps, tasks)


def on_episodes(kind, settings=None, *, steps=1, outer=None):
    """The same for random episodes of a small policy, whose losses are no quadratics."""
    objective, meta, batch = random_batch(steps)
    inner = InnerConfig(steps=steps, step_size=0.4)
    method = kind(objective.policy, inner, outer or Optimizer("SGD"), settings)
    return method, method.init(meta["params"]), batch


def shifted(state, scale=0.1):
    """The state at step sizes that are not all alike."""
    rates = tree.map(lambda r: r + scale * torch.rand_like(r), state.meta["rates"])
    return state._replace(meta=state.meta | {"rates": rates})


def mean_loss(objective, meta, batch):
    def one(data):
        return objective.outer_loss(adapt(objective.inner, meta, data.support), data)

    return over_tasks(one)(batch).mean()


def assert_slopes(objective, meta, batch, groups=("params", "rates")):
    """The meta-gradient against finite differences, along random directions in each group."""
    theta, unravel = tree.ravel(meta)
    gradient = unravel(meta_gradient(objective, meta, batch)[1])
    assert set(groups) == set(meta)
    for group in groups:
        for _ in range(3):
            direction = tree.map(torch.zeros_like, meta)
            direction[group] = tree.map(torch.randn_like, meta[group])
            d, step = tree.ravel(direction)[0], 1e-6
            up, down = (mean_loss(objective, unravel(theta + s * step * d), batch) for s in (1, -1))
            slope = d @ tree.ravel(gradient)[0]
            assert slope.abs() > 1e-6
            torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-8)


def assert_same(found, expected):
    """Two metas' parameters, to the bit."""
    for name, value in expected["params"].items():
        assert torch.equal(found["params"][name], value), name


def assert_is_maml(kind, make, settings=None):
    """Gradient and updates of "params" are MAML's, at equal constant rates."""
    torch.manual_seed(3)
    method, state, batch = make(kind, settings)
    torch.manual_seed(3)
    plain, start, _ = make(MAML)
    assert_same(state.meta, start.meta)
    gradients = [
        tree.ravel(s.meta)[1](meta_gradient(m.objective(s), s.meta, batch)[1])
        for m, s in ((method, state), (plain, start))
    ]
    for name, value in gradients[1]["params"].items():
        torch.testing.assert_close(gradients[0]["params"][name], value, rtol=0, atol=1e-12)
    return (method, state), (plain, start), batch


def resumed(method, state, batch, updates=2):
    """States after some updates, saved and restored in between or not."""
    for _ in range(updates):
        state, _ = method.update(state, batch)
    other = method.load_state_dict(tree.map(torch.clone, state.meta), method.state_dict(state))
    ends = []
    for begin in (state, other):
        for _ in range(updates):
            begin, metrics = method.update(begin, batch)
        ends.append((begin, metrics))
    return ends


def assert_resumes(method, state, batch):
    """Saving and restoring changes no bit of what follows."""
    (first, metrics), (second, others) = resumed(method, state, batch)
    assert metrics == others
    assert first.iteration == second.iteration == 4
    for a, b in zip(tree.leaves(first.meta), tree.leaves(second.meta), strict=True):
        assert torch.equal(a, b)


def iteration_on_episodes(kind, outer, settings=None, steps=2):
    """One meta-iteration of the probe environment: the states before and after, and metrics."""
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    env, policy = vectorize(TargetEnv, 12), models.functional(module)
    method = kind(policy, InnerConfig(steps=steps), outer, settings, chunk_size=2)
    sampler = RolloutSampler(
        env, method.policy, episodes=4, horizon=2, advantages=AdvantageConfig()
    )
    state = method.init(models.parameters(module))
    tasks = np.array([[-1.0], [0.5], [1.0]])
    batch = collect(sampler, method.inner, state.meta, tasks, steps=steps, key=(0, 0, 0))
    before = tree.map(torch.clone, state.meta)
    new, metrics = method.update(state, batch)
    return before, new, metrics


def assert_all_moved(before, after):
    for group, part in before.items():
        moved = [not torch.equal(value, after[group][name]) for name, value in part.items()]
        assert any(moved), group
