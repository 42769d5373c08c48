"""Outer objectives and what goes with them: clipping, ProMP's epochs, E-MAML's credit, refusals."""

import re

import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.algorithms.maml import MAML, InnerConfig
from rlmaml.collect import collect
from rlmaml.inner import gradient_descent
from rlmaml.objective import evaluate, fisher_product, meta_gradient, reference
from rlmaml.optimisers import Optimiser
from rlmaml.outer import ObjectiveConfig, kl_penalty
from rlmaml.promp import ProximalStep, sampling_kls
from rlmaml.sampling import AdvantageConfig, RolloutSampler
from rlmaml.tasks import vectorise
from rlmaml.trpo import TrustRegion
from tests.problems import TargetEnv, one, random_batch
from tests.tabular import magic_box


def promp_problem(steps=1, **settings):
    """ProMP's algorithm, and a batch that its own inner steps collected."""
    objective, meta, batch = random_batch(steps)
    algorithm = MAML(
        objective.policy,
        InnerConfig(steps=steps, step_size=0.4, surrogate="lvc"),
        Optimiser("SGD", learning_rate=0.5),
        objective=ObjectiveConfig("promp", **({"kl_coefficient": 0.2} | settings)),
    )
    return algorithm, meta, batch


def flat(meta):
    return tree.ravel(meta)[0]


# Surrogates.


def test_lvc_is_the_likelihood_ratio_where_it_was_sampled():
    """Gradient and Hessian of mean ☐(log π) Â, Rothfuss et al.'s form, with ragged episodes."""
    objective, meta, batch = random_batch(0, tasks=1)
    data, policy = one(batch.query, 0), objective.policy
    theta, unravel = tree.ravel(meta["params"])

    def boxed(v):
        logs = policy(unravel(v), data.observations).log_prob(data.actions)
        weighed = magic_box(logs) * data.advantages * data.mask
        return -weighed.sum() / data.mask.sum()

    def ratio(v):
        return losses.likelihood_ratio(policy)(unravel(v), data)

    for derivative in (torch.func.grad, torch.func.hessian):
        torch.testing.assert_close(derivative(ratio)(theta), derivative(boxed)(theta))


@pytest.mark.parametrize("name", losses.SURROGATES)
@pytest.mark.parametrize("reduction", ["steps", "episodes"])
def test_surrogates_have_the_policy_gradient_and_ignore_padding(name, reduction):
    objective, meta, batch = random_batch(0, tasks=1)
    data, policy = one(batch.query, 0), objective.policy
    loss = losses.SURROGATES[name](policy, reduction=reduction)
    found = torch.func.grad(loss)(meta["params"], data)
    expected = torch.func.grad(losses.log_likelihood(policy))(meta["params"], data)
    scale = data.mask.sum(-1).mean() if reduction == "episodes" else 1.0
    torch.testing.assert_close(found, tree.map(lambda g: scale * g, expected))
    broken = torch.where(data.mask > 0, 0.0, 1e30)
    spoilt = data._replace(actions=data.actions + broken.unsqueeze(-1))
    hessians = [
        torch.func.hessian(lambda p, d=d: loss(p, d))(meta["params"]) for d in (data, spoilt)
    ]
    torch.testing.assert_close(hessians[1], hessians[0])


def test_clipping():
    """Ratios of 1 - .5, 1, 1 + .5 at advantages ±1 and ε = .3, step by step by hand."""
    module = models.CategoricalMLP(1, 2, models.PolicyConfig(hidden=())).double()
    policy, params = models.functional(module), models.parameters(module)
    _, _, batch = random_batch(0, tasks=1)
    ratios = torch.tensor([[0.5, 1.0, 1.5, 0.5, 1.0, 1.5]], dtype=torch.float64)
    ones = torch.ones_like(ratios)
    observations, actions = ones.unsqueeze(-1), torch.zeros(1, 6, dtype=torch.int64)
    now = policy(params, observations).log_prob(actions)
    data = one(batch.query, 0)._replace(
        observations=observations,
        actions=actions,
        log_probs=now - ratios.log(),
        advantages=torch.tensor([[1.0, 1, 1, -1, -1, -1]], dtype=torch.float64),
        mask=ones,
    )
    loss = losses.clipped_ratio(policy, 0.3)
    expected = -(0.5 + 1.0 + 1.3 - 0.7 - 1.0 - 1.5) / 6
    assert loss(params, data).item() == pytest.approx(expected, abs=1e-12)
    # What is clipped away pulls no more.
    steps = [
        torch.func.grad(loss)(params, data._replace(mask=row)) for row in torch.eye(6).split(1)
    ]
    still = [float(flat(step).abs().max()) == 0 for step in steps]
    assert still == [False, False, True, True, False, False]


# ProMP.


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_one_epoch_of_promp_is_a_step_down_lvcs_meta_gradient(steps):
    """At the parameters that sampled every ratio is 1, and the KL penalty flat."""
    algorithm, meta, batch = promp_problem(steps, epochs=1)
    plain = MAML(algorithm.objective.policy, algorithm.settings, Optimiser("SGD", 0.5))
    found, metrics = algorithm.update(algorithm.restore(meta), batch)
    expected, _ = plain.update(plain.restore(meta), batch)
    torch.testing.assert_close(flat(found.meta), flat(expected.meta), rtol=1e-12, atol=1e-14)
    assert metrics["epochs"] == 1
    assert len(metrics["kl/inner"]) == steps


@pytest.mark.parametrize("steps", [1, 2])
def test_later_epochs_by_finite_differences(steps):
    """Away from the parameters that sampled: clipping, penalty and adaptation together."""
    algorithm, meta, batch = promp_problem(steps)
    ref = reference(algorithm.objective, meta, batch)
    batch = batch._replace(path=ref.path)
    penalised = algorithm.objective._replace(
        path_term=kl_penalty(algorithm.objective.policy, (0.2, 0.7)[:steps])
    )
    theta, unravel = tree.ravel(meta)
    theta = theta + 0.3 * torch.randn_like(theta)
    kls = sampling_kls(penalised, unravel(theta), batch)
    assert len(kls) == steps
    assert min(kls) > 0.01
    _, gradient = meta_gradient(penalised, unravel(theta), batch)
    for _ in range(5):
        direction, h = torch.randn_like(theta), 1e-6
        up, down = (
            evaluate(penalised, unravel(theta + s * h * direction), batch, ref)[0].mean()
            for s in (1, -1)
        )
        slope = (up - down).item() / (2 * h)
        assert slope == pytest.approx((gradient @ direction).item(), rel=1e-6, abs=1e-9)


def test_promp_against_a_loop_of_its_own():
    """Two inner steps, three epochs, clipping at work, unequal penalties; plain autograd."""
    config = ObjectiveConfig("promp", epochs=3, clip=0.05, adaptive_kl=False)
    objective, meta, batch = random_batch(2, tasks=3)
    policy, alpha, rate, etas = objective.policy, 0.4, 0.5, (0.3, 2.0)
    algorithm = MAML(
        policy,
        InnerConfig(steps=2, step_size=alpha, surrogate="lvc"),
        Optimiser("SGD", learning_rate=rate),
        objective=config,
    )
    state = algorithm.restore(meta)
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
    _, metrics = algorithm.update(algorithm.restore(meta), batch)
    first, second = metrics["kl/inner"]
    assert first < second
    limit = (first + second) / 2  # the second is too far, the first is not
    config = ObjectiveConfig("promp", kl_coefficient=0.2, kl_target=limit / 1.5)
    algorithm.outer = ProximalStep(Optimiser("SGD", 0.5), config, steps=2)
    state, _ = algorithm.update(algorithm.restore(meta), batch)
    assert state.outer.coefficients == (0.2, 0.4)


@pytest.mark.parametrize(("kl", "factor"), [(0.0151, 2), (0.0149, 1), (0.0067, 1), (0.0066, 0.5)])
def test_the_penalty_is_adapted_to_its_target(kl, factor):
    step = ProximalStep(Optimiser(), ObjectiveConfig("promp", kl_target=0.01), steps=1)
    assert step.adapted(6e-4, kl) == pytest.approx(6e-4 * factor)


def test_a_penalty_stays_where_it_can_come_back_from():
    step = ProximalStep(Optimiser(), ObjectiveConfig("promp", kl_coefficient=0.5), steps=1)
    for kl, bound in ((0.0, 0.5 / 1024), (9.0, 0.5 * 1024)):
        coefficient = 0.5
        for _ in range(30):
            coefficient = step.adapted(coefficient, kl)
        assert coefficient == bound


def test_a_larger_penalty_keeps_the_sampling_policy_nearer():
    moved = []
    for coefficient in (0.0, 3.0):
        algorithm, meta, batch = promp_problem(epochs=20, kl_coefficient=coefficient)
        algorithm.outer.optimiser = Optimiser("SGD", learning_rate=0.05)
        _, metrics = algorithm.update(algorithm.restore(meta), batch)
        moved.append(metrics["kl/inner"][0])
    assert moved[1] < 0.5 * moved[0]


def test_promp_goes_on_from_what_it_saved_to_the_bit():
    algorithm, meta, batch = promp_problem(2)
    algorithm.outer.optimiser = Optimiser(
        "Adam", schedule="StepLR", schedule_kwargs={"step_size": 1}
    )
    state, metrics = algorithm.update(algorithm.restore(meta), batch)
    assert state.outer.coefficients != (0.2, 0.2)  # adapted, or there would be nothing to save
    again = algorithm.restore(tree.map(torch.clone, state.meta), algorithm.saved(state))
    (a, x), (b, y) = (algorithm.update(s, batch) for s in (state, again))
    assert torch.equal(flat(a.meta), flat(b.meta))
    assert x == y
    assert x["learning_rate"] == pytest.approx(0.1 * metrics["learning_rate"])


def test_promp_keeps_what_stood_before_a_gradient_that_is_not_finite():
    algorithm, meta, batch = promp_problem()
    rewards = batch.query.advantages.clone()
    rewards[0, 0, 0] = torch.nan
    batch = batch._replace(query=batch.query._replace(advantages=rewards))
    state, metrics = algorithm.update(algorithm.restore(meta), batch)
    assert metrics["outcome"] == "gradient not finite"
    assert metrics["epochs"] == 0
    assert state.outer.coefficients == (0.2,)  # no step was taken to learn from
    assert torch.equal(flat(state.meta), flat(meta))


def test_promp_learns_to_adapt_to_the_target():
    """On the probe whose goal no fixed policy can meet: Var(goal) = 1/3 a step."""
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    env, policy = vectorise(TargetEnv, 200), models.functional(module)
    advantages = AdvantageConfig()
    sampler = RolloutSampler(env, policy, episodes=20, horizon=2, advantages=advantages)
    algorithm = MAML(
        policy,
        InnerConfig(step_size=0.3, surrogate="lvc"),
        Optimiser(learning_rate=0.003),
        objective=ObjectiveConfig("promp"),
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


# E-MAML.


def test_the_score_term_adds_the_credits_times_the_scores():
    """Task by task in a loop, with ragged episodes, against the meta-gradient without it."""
    objective, meta, batch = random_batch(2)
    settings = InnerConfig(steps=2, step_size=0.4, surrogate="log-likelihood")
    algorithm = MAML(objective.policy, settings, objective=ObjectiveConfig("e-maml"))
    batch = algorithm.prepare(batch)
    rewards, mask = batch.query.rewards, batch.query.mask
    returns = rewards.sum((1, 2)) / mask.sum((1, 2))
    expected = [returns[i] - returns[torch.arange(5) != i].mean() for i in range(5)]
    torch.testing.assert_close(batch.credit, torch.stack(expected))
    theta, unravel = tree.ravel(meta)
    total = meta_gradient(objective, meta, batch)[1]
    for i, credit in enumerate(expected):
        data = one(batch, i)

        def score(v, data=data):
            params, logs = unravel(v)["params"], 0.0
            for k, support in enumerate(data.support):
                policy = objective.policy(params, support.observations)
                logs = logs + (policy.log_prob(support.actions) * support.mask).sum()
                params = objective.inner.step({}, params, support, k)
            return logs

        total = total - credit * torch.func.grad(score)(theta) / 5
    torch.testing.assert_close(meta_gradient(algorithm.objective, meta, batch)[1], total)


def test_chunks_do_not_change_the_score_term():
    objective, meta, batch = random_batch(1)
    settings = InnerConfig(surrogate="log-likelihood")
    algorithm = MAML(objective.policy, settings, objective=ObjectiveConfig("e-maml"))
    batch = algorithm.prepare(batch)
    whole = meta_gradient(algorithm.objective, meta, batch)
    parts = meta_gradient(algorithm.objective._replace(chunk_size=2), meta, batch)
    torch.testing.assert_close(parts, whole)


# Separate data for the derivative.


def hessian_batch():
    objective, meta, batch = random_batch(2, tasks=3)
    _, _, other = random_batch(2, tasks=3)
    shifted = tuple(
        d._replace(advantages=d.advantages.flip(1) + 0.5 * d.mask) for d in other.support
    )
    return objective, meta, batch._replace(hessian=shifted)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_curvature_with_separate_hessian_data(fraction):
    """Jᵀ F J: J from the Hessian data, F from the query data, both dense and by hand."""
    objective, meta, batch = hessian_batch()
    ref = reference(objective, meta, batch)
    theta, unravel = tree.ravel(meta)
    product = fisher_product(objective, meta, batch, ref, fraction=fraction)
    expected, v = torch.zeros_like(theta), torch.randn_like(theta)
    for i in range(3):
        data, path = one((batch, ref.path), i)
        if fraction < 1:
            data = tree.map(lambda leaf: leaf[:2], data)
        jacobian = torch.eye(len(theta), dtype=theta.dtype)
        for params, extra in zip(path[:-1], data.hessian, strict=True):
            hessian = torch.func.hessian(
                lambda w, d=extra: losses.log_likelihood(objective.policy)(unravel(w)["params"], d)
            )(flat(params))
            jacobian = (torch.eye(len(theta)) - 0.4 * hessian) @ jacobian
        outputs = objective.policy(path[-1], data.query.observations)

        def kl(w, data=data, old=outputs):
            new = objective.policy(unravel(w)["params"], data.query.observations)
            return (old.kl(new) * data.query.mask).sum() / data.query.mask.sum()

        fisher = torch.func.hessian(kl)(flat(path[-1]))
        expected += jacobian.T @ fisher @ jacobian @ v / 3
    torch.testing.assert_close(product(v), expected)


def test_hessian_data_are_sampled_apart_and_only_when_asked_for():
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    env, policy = vectorise(TargetEnv, 6), models.functional(module)
    sampler = RolloutSampler(env, policy, episodes=2, horizon=2, advantages=AdvantageConfig())
    inner = gradient_descent(losses.log_likelihood(policy), 0.1)
    meta, tasks = {"params": models.parameters(module)}, np.zeros((3, 1))
    how = {"steps": 2, "key": (0, 0, 0)}
    batch = collect(sampler, inner, meta, tasks, own_hessian=True, **how)
    plain = collect(sampler, inner, meta, tasks, **how)
    assert plain.hessian == ()
    torch.testing.assert_close(batch._replace(hessian=()), plain, rtol=0, atol=0)
    drawn = [data.actions for data in (*batch.support, *batch.hessian, batch.query)]
    assert len({tuple(a.flatten().tolist()) for a in drawn}) == 5
    for k in range(2):  # both by φ_k
        for data in (batch.support[k], batch.hessian[k]):
            assert data.advantages.abs().sum() > 0
    params = batch.hessian[1]
    phi = [inner.step(meta, meta["params"], one(batch.support[0], i), 0) for i in range(3)]
    for i in range(3):
        episodes = one(params, i)
        logs = policy(phi[i], episodes.observations).log_prob(episodes.actions)
        torch.testing.assert_close(logs, episodes.log_probs)


# All of it on a device, the CPU being one.


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(
    ("inner", "objective", "outer"),
    [
        (InnerConfig(steps=2, surrogate="dice", hessian="separate"), "adapted", Optimiser()),
        (InnerConfig(steps=2, surrogate="log-likelihood"), "e-maml", TrustRegion()),
        (InnerConfig(steps=2), "promp", Optimiser()),
    ],
    ids=["dice", "e-maml", "promp"],
)
def test_a_meta_iteration_stays_on_its_device(device, inner, objective, outer):
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    env, policy = vectorise(TargetEnv, 12), models.functional(module)
    advantages = AdvantageConfig(normalise=objective != "e-maml")
    sampler = RolloutSampler(env, policy, episodes=4, horizon=2, advantages=advantages)
    algorithm = MAML(policy, inner, outer, objective=ObjectiveConfig(objective), chunk_size=2)
    state = algorithm.init(tree.to(models.parameters(module), device))
    how = {"steps": 2, "key": (0, 0, 0), "own_hessian": algorithm.own_hessian}
    tasks = np.array([[-1.0], [0.5], [1.0]])
    batch = collect(sampler, algorithm.inner, state.meta, tasks, **how)
    new, metrics = algorithm.update(state, batch)
    assert metrics["outcome"] == "accepted"
    assert not torch.equal(flat(new.meta), flat(state.meta))
    assert all(leaf.device.type == device for leaf in tree.leaves((new.meta, batch)))


# What does not go together.


@pytest.mark.parametrize(
    ("inner", "objective", "outer", "words"),
    [
        ({"surrogate": "lvc"}, "e-maml", None, "count that a second time.*log-likelihood"),
        ({"surrogate": "dice"}, "e-maml", None, "inner.surrogate dice.*count that a second time"),
        (
            {"hessian": "separate", "surrogate": "log-likelihood"},
            "e-maml",
            None,
            "inner.hessian support",
        ),
        (
            {"surrogate": "log-likelihood"},
            "promp",
            Optimiser(),
            "log-likelihood does not correct for.*lvc",
        ),
        (
            {"surrogate": "dice"},
            "promp",
            Optimiser(),
            "dice corrects for by products.*too noisy. Take inner.surrogate lvc",
        ),
        ({"surrogate": "lvc"}, "promp", TrustRegion(), "Take outer optimiser"),
        ({"surrogate": "lvc"}, "promp", None, "Take outer optimiser"),
    ],
)
def test_combinations_that_are_wrong_are_refused_with_the_reason(inner, objective, outer, words):
    with pytest.raises(ValueError, match=words):
        MAML(None, InnerConfig(**inner), outer, objective=ObjectiveConfig(objective))


@pytest.mark.parametrize(("objective", "outer"), [("adapted", None), ("promp", Optimiser())])
def test_copies_of_tasks_are_e_mamls(objective, outer):
    with pytest.raises(ValueError, match=f"{objective} would see fewer tasks for nothing"):
        MAML(None, outer=outer, objective=ObjectiveConfig(objective, task_copies=2))


def test_losses_of_ones_own_go_with_the_plain_objective_only():
    settings = InnerConfig(surrogate="log-likelihood")
    with pytest.raises(ValueError, match="leave out inner_loss and outer_loss"):
        MAML(None, settings, objective=ObjectiveConfig("e-maml"), inner_loss=losses.dice)
    with pytest.raises(ValueError, match="leave one of them out"):
        MAML(None, InnerConfig(reduction="episodes"), inner_loss=losses.mse)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_copies": 0},
        {"clip": 0.0},
        {"clip": 1.0},
        {"epochs": 0},
        {"kl_coefficient": -1.0},
        {"kl_target": 0.0},
    ],
)
def test_bad_settings_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=re.escape(f"objective.{name} must be")):
        ObjectiveConfig(**{name: value})


def test_more_settings_that_say_nothing_together_are_refused():
    with pytest.raises(ValueError, match="first-order leaves out"):
        InnerConfig(hessian="separate", adjoint="first-order")
    with pytest.raises(ValueError, match="baseline linear, or bootstrap False"):
        AdvantageConfig(baseline="none", bootstrap=True)
