"""Distributions, returns, baseline, conjugate gradient: against independent computations."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmaml import tree, value_baseline
from rlmaml.distributions import Categorical, Gaussian
from rlmaml.linalg import conjugate_gradient
from rlmaml.returns import discounted_sum, generalized_advantages, masked_mean, normalize


def gaussian(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Gaussian(*(torch.randn(7, 3, generator=g, dtype=torch.float64) for _ in range(2)))


def categorical(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Categorical(torch.randn(7, 4, generator=g, dtype=torch.float64))


def test_gaussian_against_torch_distributions():
    p, q = gaussian(0), gaussian(1)
    action = torch.randn(7, 3, dtype=torch.float64)
    ours = torch.distributions.Independent(torch.distributions.Normal(p.mean, p.log_std.exp()), 1)
    theirs = torch.distributions.Independent(torch.distributions.Normal(q.mean, q.log_std.exp()), 1)
    torch.testing.assert_close(p.log_prob(action), ours.log_prob(action))
    torch.testing.assert_close(p.entropy(), ours.entropy())
    torch.testing.assert_close(p.kl(q), torch.distributions.kl_divergence(ours, theirs))


def test_categorical_against_torch_distributions():
    p, q = categorical(0), categorical(1)
    action = torch.randint(4, (7,))
    ours, theirs = (torch.distributions.Categorical(logits=d.logits) for d in (p, q))
    torch.testing.assert_close(p.log_prob(action), ours.log_prob(action))
    torch.testing.assert_close(p.entropy(), ours.entropy())
    torch.testing.assert_close(p.kl(q), torch.distributions.kl_divergence(ours, theirs))


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_fisher_is_the_hessian_of_the_kl(make):
    p = make()
    flat, unravel = tree.ravel(tuple(p))
    hessian = torch.func.hessian(lambda v: p.kl(type(p)(*unravel(v))).sum())(flat)
    tangent = torch.randn_like(flat)
    product, _ = tree.ravel(tuple(p.fisher(type(p)(*unravel(tangent)))))
    torch.testing.assert_close(product, hessian @ tangent)


def test_samples_follow_the_distribution():
    rng = np.random.default_rng(0)
    p = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.0, math.log(0.5)]))
    draws = p.sample(torch.from_numpy(p.noise(rng, (20_000,))))
    torch.testing.assert_close(draws.mean(0), p.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.std(0), p.log_std.exp(), atol=0.03, rtol=0)
    c = Categorical(torch.tensor([0.0, 1.0, 2.0]))
    counts = torch.bincount(c.sample(torch.from_numpy(c.noise(rng, (20_000,))))) / 20_000
    torch.testing.assert_close(counts, c.logits.softmax(-1), atol=0.02, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 10_000))
def test_advantages_against_a_plain_loop(b, t, seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.standard_normal((2, b, t))
    lengths = rng.integers(1, t + 1, b)
    mask = (np.arange(t) < lengths[:, None]).astype(float)
    final = rng.standard_normal(b) * rng.integers(0, 2, b)
    expected = np.zeros((b, t))
    for i in range(b):
        carry = 0.0
        for s in reversed(range(lengths[i])):
            following = final[i] if s == lengths[i] - 1 else values[i, s + 1]
            carry = rewards[i, s] + 0.9 * following - values[i, s] + 0.9 * 0.8 * carry
            expected[i, s] = carry
    ours = generalized_advantages(
        *(torch.from_numpy(x * mask) for x in (rewards, values)),
        torch.from_numpy(mask),
        discount=0.9,
        gae_lambda=0.8,
        final_values=torch.from_numpy(final),
    )
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


def test_lambda_one_is_the_return_minus_the_baseline():
    rewards, values = torch.randn(2, 3, 6, dtype=torch.float64)
    ones = torch.ones_like(rewards)
    advantages = generalized_advantages(rewards, values, ones, discount=0.9, gae_lambda=1.0)
    torch.testing.assert_close(advantages, discounted_sum(rewards, 0.9) - values)


def test_normalized_advantages_have_mean_0_and_std_1_over_valid_steps():
    mask = (torch.arange(9) < torch.tensor([[9], [4], [1]])).double()
    x = 5 + 3 * torch.randn(3, 9, dtype=torch.float64)
    y = normalize(x, mask)
    valid = y[mask > 0].numpy()
    assert abs(valid.mean()) < 1e-12
    assert abs(valid.std() - 1) < 1e-6
    assert not y[mask == 0].any()
    torch.testing.assert_close(normalize(torch.where(mask > 0, x, 1e9), mask), y)


def test_masked_mean_of_nothing_is_zero():
    assert masked_mean(torch.ones(3), torch.zeros(3)) == 0


def test_baseline_against_lstsq():
    rng = np.random.default_rng(0)
    observations = torch.from_numpy(rng.standard_normal((6, 50, 4)) * 4)
    mask = (torch.arange(50) < torch.tensor([[50], [50], [31], [50], [7], [50]])).double()
    returns = torch.from_numpy(rng.standard_normal((6, 50)))
    features = value_baseline.features(observations, torch.arange(50))
    fitted = value_baseline.fit(features, returns, mask, ridge=1e-12)
    rows = mask.bool()
    clipped = observations.clamp(-10, 10)[rows].numpy()
    t = (np.broadcast_to(np.arange(50), (6, 50))[rows.numpy()] / 100)[:, None]
    x = np.hstack([clipped, clipped**2, t, t**2, t**3, np.ones_like(t)])
    expected = np.linalg.lstsq(x, returns[rows].numpy(), rcond=None)[0]
    predicted = value_baseline.predict(fitted, features)[rows].numpy()
    np.testing.assert_allclose(predicted, x @ expected, atol=1e-6)


@pytest.mark.parametrize(("episodes", "folds"), [(7, 5), (10, 5), (3, 3), (4, 2)])
def test_cross_fitted_baseline_is_the_one_fitted_on_the_other_folds(episodes, folds):
    torch.manual_seed(0)
    features = torch.randn(episodes, 6, 3, dtype=torch.float64)
    returns, mask = torch.randn(episodes, 6), (torch.rand(episodes, 6) > 0.2).float()
    fitted = value_baseline.cross_fit(features, returns, mask, folds=folds, ridge=0.5)
    predicted = value_baseline.predict(fitted, features)
    clipped = False
    for i in range(episodes):
        others = [j for j in range(episodes) if j % folds != i % folds]
        alone = value_baseline.fit(features[others], returns[others], mask[others], ridge=0.5)
        torch.testing.assert_close(fitted.weights[i], alone.weights)
        seen = returns[others][mask[others] > 0].double()
        expected = value_baseline.predict(alone, features[i : i + 1])[0]
        clipped |= bool(((expected < seen.min()) | (expected > seen.max())).any())
        torch.testing.assert_close(predicted[i], expected.clamp(seen.min(), seen.max()))
    assert clipped or episodes > 4


def test_cross_fitting_one_episode_is_refused():
    one = torch.randn(1, 6, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="two episodes"):
        value_baseline.cross_fit(one, torch.randn(1, 6), torch.ones(1, 6))


def test_a_cross_fitted_baseline_predicts_returns_of_ants_it_has_not_seen():
    """Contact forces are rare and large: least squares alone extrapolates wildly."""
    env = gymnasium.make_vec("envs:rlmaml/PaperAntVel-v0", num_envs=20, num_threads=1)
    observations, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    seen, rewards = [], []
    for _ in range(60):
        seen.append(observations)
        observations, reward, *_ = env.step(rng.standard_normal((20, 8)))
        rewards.append(reward)
    seen, rewards = (torch.from_numpy(np.stack(x, 1)) for x in (seen, rewards))
    returns, mask = discounted_sum(rewards, 0.9), torch.ones(20, 60)
    features = value_baseline.features(seen, torch.arange(60))
    left = {}
    for ridge in (1e-5, 10.0):
        fitted = value_baseline.cross_fit(features, returns, mask, ridge=ridge)
        off = returns - value_baseline.predict(fitted, features)
        left[ridge] = (off.var() / returns.var()).item()
    assert left[10.0] < 0.8
    assert left[10.0] < left[1e-5]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_conjugate_gradient_against_solve(size, seed):
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=rng, dtype=torch.float64)
    a = root @ root.T + 0.5 * torch.eye(size, dtype=torch.float64)
    b = torch.randn(size, generator=rng, dtype=torch.float64)
    before = b.clone()
    x, spent = conjugate_gradient(lambda v: a @ v, b, iterations=3 * size, tolerance=1e-24)
    torch.testing.assert_close(x, torch.linalg.solve(a, b), rtol=1e-8, atol=1e-8)
    assert 1 <= spent <= 3 * size
    assert torch.equal(b, before)


def test_conjugate_gradient_stops_where_the_matrix_is_not_positive():
    x, spent = conjugate_gradient(lambda v: -v, torch.ones(3))
    assert spent == 1
    assert not x.any()


def test_ravel_round_trips_and_keeps_order():
    value = {"a": torch.randn(2, 3), "b": {"c": torch.randn(4)}}
    flat, unravel = tree.ravel(value)
    assert flat.shape == (10,)
    back = unravel(flat)
    assert torch.equal(back["a"], value["a"])
    assert torch.equal(back["b"]["c"], value["b"]["c"])
    with pytest.raises(ValueError, match="empty tree"):
        tree.ravel({})


@pytest.mark.timeout(60)
def test_baselines_of_several_ants_are_fitted_whatever_the_threads():
    """Two tasks at once, 254 numbers each and fewer steps than that: oneMKL used to hang."""
    env = gymnasium.make_vec("envs:rlmaml/PaperAntVel-v0", num_envs=2, num_threads=1)
    observations, _ = env.reset(seed=0)
    rng, seen = np.random.default_rng(0), []
    for _ in range(200):
        seen.append(observations)
        observations, *_ = env.step(rng.standard_normal((2, 8)))
    features = value_baseline.features(torch.from_numpy(np.stack(seen, 1)), torch.arange(200))
    features = features.unsqueeze(1)  # [2, 1, T, F], an episode each
    returns, mask = torch.randn(2, 1, 200), torch.ones(2, 1, 200)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        both = torch.func.vmap(value_baseline.fit)(features, returns, mask)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for i in range(2):
        alone = value_baseline.predict(
            value_baseline.fit(features[i], returns[i], mask[i]), features[i]
        )
        fitted = value_baseline.Linear(*(part[i] for part in both))
        torch.testing.assert_close(
            value_baseline.predict(fitted, features[i]), alone, rtol=0, atol=1e-3
        )
