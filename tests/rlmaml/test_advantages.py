"""Advantages: the baseline, what a divergence is worth, tasks apart."""

import pytest
import torch

from rlmaml import models
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.returns import generalized_advantages
from rlmaml.types import Episodes
from tests.helpers.problems import one, random_episodes


@pytest.mark.parametrize("bootstrap", [False, True])
def test_diverging_does_not_pay(bootstrap):
    """Reward -1 a step for 10 steps; one episode of four diverges at its third."""
    mask = (torch.arange(10) < torch.tensor([[2], [10], [10], [10]])).float()
    diverged = torch.zeros(4, 10)
    diverged[0, 2] = 1
    zeros = torch.zeros(4, 10)
    episodes = Episodes(
        observations=0.01 * torch.randn(4, 10, 2),
        actions=zeros,
        rewards=-mask,
        log_probs=zeros,
        values=zeros,
        advantages=zeros,
        mask=mask,
        terminated=torch.zeros(4),
        final_observations=torch.zeros(4, 2),
        diagnostics={"diverged": diverged},
    )
    config = AdvantageConfig(bootstrap=bootstrap, discount=0.9)
    estimated = estimate_advantages(episodes, config)
    # Without noise the baseline explains the others' returns, and the diverged episode's too.
    assert estimated.values[0, 0] < -5
    unscaled = generalized_advantages(
        episodes.rewards,
        estimated.values,
        mask,
        discount=0.9,
        gae_lambda=1.0,
        final_values=diverged.amax(1) * estimated.values[1, 2],
    )
    assert unscaled[0, :2].abs().max() < 0.2


def test_advantages_of_stacked_tasks_equal_one_at_a_time():
    model = models.GaussianMLP(3, 2, SMALL).double()
    policy, params = models.functional(model), models.parameters(model)
    stacked = random_episodes(policy, params, tasks=3, episodes=4, horizon=9, observation_size=3)
    config = AdvantageConfig(gae_lambda=0.9)
    together = torch.func.vmap(lambda e: estimate_advantages(e, config))(stacked)
    for i in range(3):
        torch.testing.assert_close(one(together, i), estimate_advantages(one(stacked, i), config))


def test_a_cross_fitted_baseline_has_not_seen_what_it_is_for():
    model = models.GaussianMLP(3, 2, SMALL).double()
    episodes = one(
        random_episodes(
            models.functional(model),
            models.parameters(model),
            tasks=1,
            episodes=6,
            horizon=7,
            observation_size=3,
        ),
        0,
    )
    config = AdvantageConfig(baseline="cross-fitted", normalize=False)
    values = estimate_advantages(episodes, config).values
    changed = episodes.rewards.clone()
    changed[2] += 5.0
    after = estimate_advantages(episodes._replace(rewards=changed), config).values
    torch.testing.assert_close(after[2], values[2], rtol=1e-9, atol=1e-9)
    assert (after[0] - values[0]).abs().max() > 0.1
    plain = AdvantageConfig(normalize=False)
    seen = [
        estimate_advantages(e, plain).values[2]
        for e in (episodes, episodes._replace(rewards=changed))
    ]
    assert (seen[0] - seen[1]).abs().max() > 0.1


SMALL = models.PolicyConfig(hidden=(8,))
