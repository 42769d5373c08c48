"""ProMP: the same first epoch as LVC, later ones against finite differences and a loop."""

import numpy as np
import pytest
import torch

from rlmaml import models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.promp import ProMP, ProximalStep, penalized, sampling_kls
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import evaluate, meta_gradient, reference
from rlmaml.outer.optimizer import Optimizer
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv, one, random_batch


def promp_problem(steps=1, **settings):
    """ProMP's algorithm, and a batch that its own inner steps collected."""
    objective, meta, batch = random_batch(steps)
    algorithm = ProMP(
        objective.policy,
        InnerConfig(steps=steps, step_size=0.4, surrogate="lvc"),
        Optimizer("SGD", learning_rate=0.5),
        ProMP.Settings(**({"kl_coefficient": 0.2} | settings)),
    )
    return algorithm, meta, batch


def flat(meta):
    return tree.ravel(meta)[0]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_one_epoch_of_promp_is_a_step_down_lvcs_meta_gradient(steps):
    """At the parameters that sampled every ratio is 1, and the KL penalty flat."""
    algorithm, meta, batch = promp_problem(steps, epochs=1)
    plain = MAML(algorithm.policy, algorithm.inner_config, Optimizer("SGD", 0.5))
    found, metrics = algorithm.update(algorithm.initial_state(meta), batch)
    expected, _ = plain.update(plain.initial_state(meta), batch)
    torch.testing.assert_close(flat(found.meta), flat(expected.meta), rtol=1e-12, atol=1e-14)
    assert metrics["epochs"] == 1
    assert len(metrics["kl/inner"]) == steps


@pytest.mark.parametrize("steps", [1, 2])
def test_later_epochs_by_finite_differences(steps):
    """Away from the parameters that sampled: clipping, penalty and adaptation together."""
    algorithm, meta, batch = promp_problem(steps)
    objective = algorithm.objective(algorithm.initial_state(meta))
    ref = reference(objective, meta, batch)
    batch = batch._replace(iterates=ref.iterates)
    objective = penalized(objective, (0.2, 0.7)[:steps])
    theta, unravel = tree.ravel(meta)
    theta = theta + 0.3 * torch.randn_like(theta)
    kls = sampling_kls(objective, unravel(theta), batch)
    assert len(kls) == steps
    assert min(kls) > 0.01
    _, gradient = meta_gradient(objective, unravel(theta), batch)
    for _ in range(5):
        direction, h = torch.randn_like(theta), 1e-6
        up, down = (
            evaluate(objective, unravel(theta + s * h * direction), batch, ref)[0].mean()
            for s in (1, -1)
        )
        slope = (up - down).item() / (2 * h)
        assert slope == pytest.approx((gradient @ direction).item(), rel=1e-6, abs=1e-9)


def test_promp_against_a_loop_of_its_own():
    """Two inner steps, three epochs, clipping at work, unequal penalties; plain autograd."""
    config = ProMP.Settings(epochs=3, clip=0.05, adaptive_kl=False)
    objective, meta, batch = random_batch(2, tasks=3)
    policy, alpha, rate, etas = objective.policy, 0.4, 0.5, (0.3, 2.0)
    algorithm = ProMP(
        policy,
        InnerConfig(steps=2, step_size=alpha, surrogate="lvc"),
        Optimizer("SGD", learning_rate=rate),
        config,
    )
    state = algorithm.initial_state(meta)
    state = state._replace(outer=state.outer._replace(coefficients=etas))
    state, metrics = algorithm.update(state, batch)

    def mean(x, data):
        return (x * data.mask).sum() / data.mask.sum()

    def ratio(params, data):
        new = policy(params, data.observations).log_prob(data.actions)
        return torch.where(data.mask > 0, new - data.log_probs, 0.0).exp()

    def adapted(params, data):
        path = [params]
        for support in data.support:
            loss = -mean(ratio(path[-1], support) * support.advantages, support)
            slopes = torch.autograd.grad(loss, list(path[-1].values()), create_graph=True)
            moved = zip(path[-1].items(), slopes, strict=True)
            path.append({name: value - alpha * slope for (name, value), slope in moved})
        return path

    def leaves(params):
        return {name: value.detach().requires_grad_() for name, value in params.items()}

    params = leaves(meta["params"])
    old = [[leaves(p) for p in adapted(params, one(batch, i))] for i in range(3)]
    clipped = 0
    for _ in range(3):
        total = 0.0
        for i in range(3):
            data = one(batch, i)
            path = adapted(params, data)
            rho, a = ratio(path[-1], data.query), data.query.advantages
            clipped += ((rho - 1).abs() > 0.05).sum().item()
            total = total - mean(torch.min(rho * a, rho.clamp(0.95, 1.05) * a), data.query) / 3
            for k, support in enumerate(data.support):
                p, q = (policy(x[k], support.observations) for x in (old[i], path))
                normal = torch.distributions.Normal
                kl = torch.distributions.kl_divergence(
                    normal(p.mean, p.log_std.exp()), normal(q.mean, q.log_std.exp())
                ).sum(-1)
                total = total + etas[k] * mean(kl, support) / 3
        slopes = torch.autograd.grad(total, list(params.values()))
        moved = zip(params.items(), slopes, strict=True)
        params = leaves({name: value - rate * slope for (name, value), slope in moved})
    assert clipped > 20
    torch.testing.assert_close(flat(state.meta), flat({"params": params}).detach())
    assert metrics["kl_coefficients"] == list(etas)
    assert state.outer.coefficients == etas


def test_every_penalty_is_adapted_to_the_kl_of_its_own_step():
    algorithm, meta, batch = promp_problem(2, adaptive_kl=False)
    _, metrics = algorithm.update(algorithm.initial_state(meta), batch)
    first, second = metrics["kl/inner"]
    assert first < second
    limit = (first + second) / 2  # the second is too far, the first is not
    config = ProMP.Settings(kl_coefficient=0.2, kl_target=limit / 1.5)
    algorithm.outer = ProximalStep(Optimizer("SGD", 0.5), config, steps=2)
    state, _ = algorithm.update(algorithm.initial_state(meta), batch)
    assert state.outer.coefficients == (0.2, 0.4)


@pytest.mark.parametrize(("kl", "factor"), [(0.0151, 2), (0.0149, 1), (0.0067, 1), (0.0066, 0.5)])
def test_the_penalty_is_adapted_to_its_target(kl, factor):
    step = ProximalStep(Optimizer(), ProMP.Settings(kl_target=0.01), steps=1)
    assert step.adapted(6e-4, kl) == pytest.approx(6e-4 * factor)


def test_a_penalty_stays_where_it_can_come_back_from():
    step = ProximalStep(Optimizer(), ProMP.Settings(kl_coefficient=0.5), steps=1)
    for kl, bound in ((0.0, 0.5 / 1024), (9.0, 0.5 * 1024)):
        coefficient = 0.5
        for _ in range(30):
            coefficient = step.adapted(coefficient, kl)
        assert coefficient == bound


def test_a_larger_penalty_keeps_the_sampling_policy_nearer():
    moved = []
    for coefficient in (0.0, 3.0):
        algorithm, meta, batch = promp_problem(epochs=20, kl_coefficient=coefficient)
        algorithm.outer.optimizer = Optimizer("SGD", learning_rate=0.05)
        _, metrics = algorithm.update(algorithm.initial_state(meta), batch)
        moved.append(metrics["kl/inner"][0])
    assert moved[1] < 0.5 * moved[0]


def test_promp_goes_on_from_what_it_saved_to_the_bit():
    algorithm, meta, batch = promp_problem(2)
    algorithm.outer.optimizer = Optimizer(
        "Adam", schedule="StepLR", schedule_kwargs={"step_size": 1}
    )
    state, metrics = algorithm.update(algorithm.initial_state(meta), batch)
    assert state.outer.coefficients != (0.2, 0.2)  # adapted, or there would be nothing to save
    again = algorithm.load_state_dict(
        tree.map(torch.clone, state.meta), algorithm.state_dict(state)
    )
    (a, x), (b, y) = (algorithm.update(s, batch) for s in (state, again))
    assert torch.equal(flat(a.meta), flat(b.meta))
    assert x == y
    assert x["learning_rate"] == pytest.approx(0.1 * metrics["learning_rate"])


def test_promp_keeps_what_stood_before_a_gradient_that_is_not_finite():
    algorithm, meta, batch = promp_problem()
    rewards = batch.query.advantages.clone()
    rewards[0, 0, 0] = torch.nan
    batch = batch._replace(query=batch.query._replace(advantages=rewards))
    state, metrics = algorithm.update(algorithm.initial_state(meta), batch)
    assert metrics["outcome"] == "gradient not finite"
    assert metrics["epochs"] == 0
    assert state.outer.coefficients == (0.2,)  # no step was taken to learn from
    assert torch.equal(flat(state.meta), flat(meta))


@pytest.mark.slow
def test_promp_learns_to_adapt_to_the_target():
    """On the probe whose goal no fixed policy can meet: Var(goal) = 1/3 a step."""
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    env, policy = vectorize(TargetEnv, 200), models.functional(module)
    advantages = AdvantageConfig()
    sampler = RolloutSampler(env, policy, episodes=20, horizon=2, advantages=advantages)
    algorithm = ProMP(
        policy,
        InnerConfig(step_size=0.3, surrogate="lvc"),
        Optimizer(learning_rate=0.003),
    )
    state, gaps = algorithm.init(models.parameters(module)), []
    for i in range(30):
        tasks = env.sample_tasks(10, np.random.default_rng(i))
        batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, i, 0))
        state, _ = algorithm.update(state, batch)
        pre, post = (data.rewards.sum(-1).mean().item() for data in (batch.support[0], batch.query))
        gaps.append(post - pre)
    assert np.mean(gaps[-5:]) > 0.35
    assert np.mean(gaps[-5:]) > 2 * np.mean(gaps[:3])
