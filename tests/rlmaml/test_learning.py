"""Meta-training finds what can be known in advance, on probes and end to end."""

import numpy as np
import pytest
import torch

from rlmaml import models
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms import get_algorithm
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import CorridorEnv, TargetEnv

pytestmark = pytest.mark.slow


def train(make, module, iterations, *, tasks=10, episodes=20, horizon=2, discount=0.99, **settings):
    """Returns before and after adaptation [iterations, 2], the parameters, the sampler."""
    env = vectorize(make, tasks * episodes)
    policy = models.functional(module)
    sampler = RolloutSampler(
        env,
        policy,
        episodes=episodes,
        horizon=horizon,
        advantages=AdvantageConfig(discount=discount),
    )
    kind = get_algorithm(settings.get("name", "maml"))
    algorithm = kind(policy, settings.get("inner"), settings.get("trust_region"))
    state, returns = algorithm.init(models.parameters(module)), []
    for iteration in range(iterations):
        batch = collect(
            sampler,
            algorithm.inner,
            state.meta,
            env.sample_tasks(tasks, generator(0, iteration, Phase.TASKS)),
            steps=algorithm.data_spec.steps,
            key=(0, iteration, Phase.ROLLOUT),
        )
        state, _ = algorithm.update(state, batch)
        first = (*batch.support, batch.query)[0]
        returns.append([data.rewards.sum(-1).mean().item() for data in (first, batch.query)])
    return np.array(returns), state.meta["params"], sampler


def test_plain_trpo_finds_the_mean_goal():
    """Without adaptation the best constant is the mean goal, 0; the noise shrinks."""
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    with torch.no_grad():
        module.mean[-1].bias.fill_(2.0)
    settings = {"inner": InnerConfig(steps=0), "trust_region": TrustRegion(max_kl=0.05)}
    returns, params, sampler = train(TargetEnv, module, 25, tasks=40, episodes=5, **settings)
    mean = sampler.policy(params, torch.ones(1)).mean.item()
    assert abs(mean) < 0.25
    # Two steps of -(a - goal)²: at least 2 Var(goal) = 2/3 is lost without knowing the goal.
    assert returns[0, 1] < -8
    assert returns[-1, 1] > -1.6


def test_meta_training_learns_to_adapt_to_the_target():
    """One inner step closes most of the gap that no fixed policy can: Var(goal) = 1/3 a step."""
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    settings = {"inner": InnerConfig(step_size=0.3), "trust_region": TrustRegion(max_kl=0.05)}
    returns, *_ = train(TargetEnv, module, 40, **settings)
    gap = (returns[:, 1] - returns[:, 0])[-5:].mean()
    assert gap > 0.35
    assert gap > 2 * (returns[:, 1] - returns[:, 0])[:3].mean()


@pytest.mark.parametrize("name", ["maml", "fo-maml"])
def test_discrete_world_is_solved_after_one_step(name):
    """Before adaptation half of the episodes can be right; after it nearly all are."""
    module = models.CategoricalMLP(5, 2, models.PolicyConfig(hidden=(16,)))
    settings = {
        "name": name,
        "inner": InnerConfig(step_size=0.3),
        "trust_region": TrustRegion(max_kl=0.01),
    }
    returns, *_ = train(CorridorEnv, module, 9, horizon=8, **settings)
    assert returns[0, 1] < 0.65
    before, after = returns[-3:].mean(0)
    assert 0.4 < before < 0.6
    assert after > 0.85
