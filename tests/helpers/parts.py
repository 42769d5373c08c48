"""Problems for methods in which a part of the parameters adapts, and what each must meet."""

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.models.mlp import PolicyConfig
from rlmaml.objective import meta_gradient, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import Examples, MetaBatch
from tests.helpers.problems import TargetEnv, one, quadratics


def regression(kind, settings=None, *, steps=2, hidden=(6, 5), alpha=0.3, outer=None, seed=0):
    """A method on random examples: 3 numbers in, 2 out, 4 tasks of 7 + 7; float64.

    Returns:
        method, meta, batch.
    """
    torch.manual_seed(seed)
    module = models.RegressionMLP(3, 2, PolicyConfig(hidden=hidden, activation="tanh")).double()
    method = kind(
        models.functional(module),
        InnerConfig(steps=steps, step_size=alpha),
        outer or Optimizer("SGD", learning_rate=0.1),
        settings,
        inner_loss=losses.mse,
        outer_loss=losses.mse,
    )
    sets = [
        Examples(torch.randn(4, 7, 3).double(), torch.randn(4, 7, 2).double()) for _ in range(2)
    ]
    batch = MetaBatch((sets[0],) * method.data_spec.steps, sets[1])
    return method, method.init_meta(models.parameters(module)), batch


def shaken(meta, groups=None):
    """Meta-parameters away from where they begin, so that nothing is zero or one by chance."""
    return {
        group: tree.map(lambda leaf: leaf + 0.2 * torch.randn_like(leaf), part)
        if groups is None or group in groups
        else part
        for group, part in meta.items()
    }


def gradient(method, meta, batch):
    """The meta-gradient, as a tree."""
    state = method.initial_state(meta)
    _, flat = meta_gradient(method.objective(state), meta, batch)
    return tree.ravel(meta)[1](flat)


def assert_finite_differences(method, meta, batch, frozen=()):
    """The meta-gradient in every group, along random directions that leave `frozen` alone."""
    found = gradient(method, meta, batch)
    rng, h = torch.Generator().manual_seed(3), 1e-6
    checked = 0
    for group, part in meta.items():
        for name, value in part.items():
            if (group, name) in frozen:
                assert not found[group][name].any()
                continue
            way = torch.randn(value.shape, generator=rng, dtype=value.dtype)

            def loss(sign, group=group, name=name, value=value, way=way, part=part):
                moved = meta | {group: part | {name: value + sign * h * way}}

                def of(data):
                    return method.outer_loss(adapt(method.inner, moved, data.support), data)

                return over_tasks(of)(batch).mean().item()

            slope = (loss(1) - loss(-1)) / (2 * h)
            assert slope == pytest.approx((found[group][name] * way).sum().item(), abs=2e-8)
            checked += abs(slope) > 1e-5
    assert checked


def split_quadratics():
    """Four tasks of five numbers, of which "body" is two and "head.end" three."""
    return quadratics(4, 5)


def split_loss(policy):
    """The loss of `tests.helpers.problems.quadratic_loss`, for any policy."""

    def loss(params, task):
        shift = torch.cat([value.flatten() for value in params.values()]) - task.center
        return 0.5 * shift @ task.curvature @ shift

    return loss


def head_descent(task, point, alpha, steps, size=3):
    """Gradient descent on the last `size` coordinates: where it ends, and d end / d point."""
    hessian = task.curvature
    a, b = hessian[-size:, -size:], hessian[-size:, :-size]
    eye = torch.eye(size, dtype=point.dtype)
    power = torch.linalg.matrix_power(eye - alpha * a, steps)
    body = point[:-size]
    best = task.center[-size:] - torch.linalg.solve(a, b @ (body - task.center[:-size]))
    end = torch.cat([body, best + power @ (point[-size:] - best)])
    jacobian = torch.eye(len(point), dtype=point.dtype)
    jacobian[-size:, -size:] = power
    jacobian[-size:, :-size] = -(eye - power) @ torch.linalg.solve(a, b)
    return end, jacobian


def descended(tasks, point, alpha, steps):
    """Ends [N, 5] of `head_descent`, and Σ_i J_iᵀ ∇L_i / N with respect to the point."""
    ends, pulled = [], torch.zeros_like(point)
    for i in range(len(tasks.center)):
        task = one(tasks, i)
        end, jacobian = head_descent(task, point, alpha, steps)
        ends.append(end)
        pulled += jacobian.T @ task.curvature @ (end - task.center) / len(tasks.center)
    return torch.stack(ends), pulled


def by_episodes(kind, outer=None, settings=None, steps=2, prepare=lambda meta: meta):
    """One update of a Gaussian policy on episodes: (method, meta, state after it, metrics)."""
    torch.manual_seed(0)
    module = models.GaussianMLP(1, 1, PolicyConfig(hidden=(8,)))
    method = kind(models.functional(module), InnerConfig(steps), outer or TrustRegion(), settings)
    state = method.init(models.parameters(module))
    state = method.initial_state(prepare(state.meta))
    new, metrics = method.update(state, collected(method, state))
    assert all(leaf.isfinite().all() for leaf in tree.leaves(new.meta))
    return method, state.meta, new, metrics


def collected(method, state):
    """A batch of a method's own kind, of three tasks, 4 episodes of 2 steps each."""
    sampler = RolloutSampler(
        vectorize(TargetEnv, 12),
        method.policy,
        episodes=4,
        horizon=2,
        advantages=AdvantageConfig(),
    )
    tasks = np.array([[-0.5], [0.1], [0.9]])
    steps, own = method.data_spec.steps, method.data_spec.separate_hessian
    return collect(
        sampler,
        method.inner,
        state.meta,
        tasks,
        steps=steps,
        key=(0, 0, 1000),
        separate_hessian=own,
    )


def assert_resumes(method, meta, batch):
    """A state saved and restored goes on as it would have, to the bit."""
    state, _ = method.update(method.initial_state(meta), batch)
    kept = tree.map(torch.clone, state.meta), method.state_dict(state)
    on, _ = method.update(state, batch)
    again, _ = method.update(method.load_state_dict(*kept), batch)
    assert all(map(torch.equal, tree.leaves(on.meta), tree.leaves(again.meta)))
    assert again.iteration == on.iteration == 2
