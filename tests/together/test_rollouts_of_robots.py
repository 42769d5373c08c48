"""The library's rollouts on the package's robots."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs  # noqa: F401  registers the environments
from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.errors import ConfigError
from rlmaml.inner import gradient_descent
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.spaces import action_filter, encoder
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv, one

SMALL = models.PolicyConfig(hidden=(8,))


def cheetahs(copies, threads=1, mode="Disabled", **kwargs):
    return gymnasium.make_vec(
        "rlmaml/HalfCheetahVel-v0",
        num_envs=copies,
        autoreset_mode=mode,
        num_threads=threads,
        **kwargs,
    )


def cheetah_sampler(tasks=3, episodes=2, horizon=12, threads=1, mode="Disabled", **kwargs):
    env = cheetahs(tasks * episodes, threads, mode, max_episode_steps=horizon)
    model = models.GaussianMLP(17, 6, SMALL)
    sampler = RolloutSampler(
        env, models.functional(model), episodes=episodes, horizon=horizon, **kwargs
    )
    params = tree.repeat(models.parameters(model), tasks)
    return sampler, params, env.sample_tasks(tasks, generator(0))


def test_the_same_key_gives_the_same_episodes_at_any_thread_count_and_autoreset_mode():
    runs = []
    for threads, mode in ((1, "Disabled"), (2, "Disabled"), (2, "SameStep")):
        torch.manual_seed(0)
        sampler, params, tasks = cheetah_sampler(threads=threads, mode=mode)
        runs.append(sampler(params, tasks, (1, 2, 3)))
        again = sampler(params, tasks, (1, 2, 3))
        assert all(map(torch.equal, tree.leaves(runs[-1]), tree.leaves(again)))
        other = sampler(params, tasks, (1, 2, 4))
        assert not torch.equal(runs[-1].actions, other.actions)
    for run in runs[1:]:
        assert all(map(torch.equal, tree.leaves(runs[0]), tree.leaves(run)))


def test_recorded_rewards_are_the_single_environments():
    """Replay the clipped actions in gymnasium.make's environment, seeded and tasked alike."""
    sampler, params, tasks = cheetah_sampler(tasks=2, episodes=1)
    episodes = sampler(params, tasks, (0, 0, 0))
    for i in range(2):
        env = gymnasium.make("rlmaml/HalfCheetahVel-v0")
        seed = int(generator(0, 0, 0, i).integers(2**31, size=1)[0])
        observation, _ = env.reset(seed=seed, options={"task": tasks[i]})
        for t in range(12):
            np.testing.assert_array_equal(
                np.float32(observation), episodes.observations[i, 0, t].numpy()
            )
            action = episodes.actions[i, 0, t].numpy().clip(-1, 1)
            observation, reward, *_ = env.step(action)
            assert np.float32(reward) == episodes.rewards[i, 0, t].item()


def test_the_test_split_reaches_an_environment_that_has_one():
    env = vectorize(
        lambda: gymnasium.make(
            "rlmaml/HalfCheetahVel-v0", goal_range=(0.0, 1.0), test_goal_range=(2.0, 3.0)
        ),
        1,
    )
    train, test = (env.sample_tasks(20, generator(0), split=s) for s in ("train", "test"))
    assert train.max() <= 1
    assert test.min() >= 2


def test_a_tasks_episodes_do_not_depend_on_the_other_tasks():
    torch.manual_seed(0)
    sampler, params, tasks = cheetah_sampler(tasks=3)
    three = sampler(params, tasks, (0, 0, 0))
    torch.manual_seed(0)
    sampler, params, _ = cheetah_sampler(tasks=2)
    two = sampler(params, tasks[:2], (0, 0, 0))
    torch.testing.assert_close(tree.map(lambda leaf: leaf[:2], three), two, rtol=1e-4, atol=1e-4)


def test_recorded_log_probs_are_of_the_unclipped_actions_under_the_acting_policy():
    sampler, params, tasks = cheetah_sampler()
    params = tree.map(lambda leaf: leaf + 0.1 * torch.randn_like(leaf), params)
    episodes = sampler(params, tasks, (0, 0, 0))
    assert episodes.actions.abs().max() > 1.5  # the box is ±1
    for i in range(3):
        episode = one(episodes, i)
        distribution = sampler.policy(one(params, i), episode.observations)
        torch.testing.assert_close(
            distribution.log_prob(episode.actions), episode.log_probs, rtol=1e-4, atol=1e-4
        )


def test_likeliest_actions_on_request():
    sampler, params, tasks = cheetah_sampler(deterministic=True)
    episodes = sampler(params, tasks, (0, 0, 0))
    first = one(episodes, 0)
    means = sampler.policy(one(params, 0), first.observations).mean
    torch.testing.assert_close(first.actions, means, rtol=1e-5, atol=1e-6)
    sampler.deterministic = False
    drawn = sampler(params, tasks, (0, 0, 0))
    assert torch.equal(drawn.observations[:, :, 0], episodes.observations[:, :, 0])
    assert not torch.equal(drawn.actions, episodes.actions)


def test_policies_that_blew_up_are_named():
    sampler, params, tasks = cheetah_sampler()
    params["log_std"] = params["log_std"].clone()
    params["log_std"][1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"tasks \[1\]"):
        sampler(params, tasks, (0, 0, 0))


def test_collect_adapts_with_what_it_sampled():
    sampler, params, tasks = cheetah_sampler(advantages=AdvantageConfig())
    meta = {"params": one(params, 0)}
    inner = gradient_descent(losses.log_likelihood(sampler.policy), 0.1)
    batch = collect(sampler, inner, meta, tasks, steps=2, key=(0, 0, 7), chunk_size=2)
    assert len(batch.support) == 2
    stacked = params
    for k in range(3):
        data = (*batch.support, batch.query)[k]
        again = sampler(stacked, tasks, (0, 0, 7 + k))
        torch.testing.assert_close(again, data, rtol=1e-3, atol=1e-3)
        if k < 2:
            phis = [inner.step(meta, one(stacked, i), one(data, i), k) for i in range(3)]
            stacked = {name: torch.stack([phi[name] for phi in phis]) for name in phis[0]}


def test_bad_sizes_and_spaces_are_refused():
    policy = models.functional(models.GaussianMLP(17, 6, SMALL))
    with pytest.raises(ValueError, match="num_envs = tasks"):
        RolloutSampler(cheetahs(5), policy, episodes=2, horizon=5)
    sampler, params, tasks = cheetah_sampler()
    with pytest.raises(ValueError, match="2 tasks"):
        sampler(params, tasks[:2], (0, 0, 0))
    next_step = SyncVectorEnv([TargetEnv] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        RolloutSampler(next_step, policy, episodes=1, horizon=5)
    for refuse in (encoder, action_filter):
        with pytest.raises(ConfigError, match="must be a Box, Discrete"):
            refuse(gymnasium.spaces.Text(3))
    with pytest.raises(ValueError, match="discount"):
        AdvantageConfig(discount=1.5)
