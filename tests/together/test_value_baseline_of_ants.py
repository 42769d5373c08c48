"""The linear baseline on ants, whose contact forces are rare and large."""

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import value_baseline
from rlmaml.returns import discounted_sum

pytestmark = pytest.mark.slow


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
