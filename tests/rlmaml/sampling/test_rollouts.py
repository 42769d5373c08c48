"""Rollouts, advantages, collection: what is recorded, from whom, and with which randomness."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs  # noqa: F401  (registers the worlds)
from rlmaml import MAML, TrustRegion, losses, models, tree, value_baseline
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.inner import gradient_descent
from rlmaml.returns import discounted_sum, generalized_advantages, normalize
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.spaces import action_filter, encoder
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import Episodes
from tests.helpers.problems import CorridorEnv, TargetEnv, one, random_episodes

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


def corridor_sampler(tasks, episodes, horizon, **kwargs):
    env = vectorize(CorridorEnv, tasks * episodes)
    model = models.CategoricalMLP(5, 2, SMALL)
    sampler = RolloutSampler(
        env, models.functional(model), episodes=episodes, horizon=horizon, **kwargs
    )
    return sampler, tree.repeat(models.parameters(model), tasks)


def test_ends_masks_and_one_hot_observations_of_a_discrete_world():
    sampler, params = corridor_sampler(2, 16, 5)
    episodes = sampler(params, np.array([0, 1]), (0, 0, 0))
    assert episodes.observations.shape == (2, 16, 5, 5)
    lengths = episodes.mask.sum(-1)
    assert torch.equal(episodes.mask, (torch.arange(5) < lengths[..., None]).float())
    cells = 2 + (2 * episodes.actions - 1).mul(episodes.mask).sum(-1)
    ended = (cells == 0) | (cells == 4)
    assert torch.equal(episodes.terminated.bool(), ended)
    assert ended.any()
    assert not ended.all()  # parity keeps some alive to the horizon of 5
    assert torch.equal(episodes.final_observations.argmax(-1).float(), cells.float())
    goal = torch.tensor([0.0, 4.0])[:, None]
    assert torch.equal(episodes.rewards.sum(-1), (ended & (cells == goal)).float())


def test_bootstrapping_is_for_time_limits_not_for_ends():
    sampler, params = corridor_sampler(1, 64, 3)
    episodes = one(sampler(params, np.array([1]), (0, 0, 0)), 0)
    plain = estimate_advantages(episodes, AdvantageConfig(discount=0.9))
    boot = estimate_advantages(episodes, AdvantageConfig(discount=0.9, bootstrap=True))
    assert torch.equal(plain.values, boot.values)
    # Undo the normalization: the last valid step of a time-limited episode gains γ V(end).
    time = torch.arange(3)
    features = value_baseline.features(episodes.observations, time)
    weights = value_baseline.fit(features, discounted_sum(episodes.rewards, 0.9), episodes.mask)
    lengths = episodes.mask.sum(1, keepdim=True)
    ends = value_baseline.features(episodes.final_observations[:, None], lengths)
    final = value_baseline.predict(weights, ends)[:, 0].float() * (1 - episodes.terminated)
    assert final.abs().max() > 0.05
    expected = generalized_advantages(
        episodes.rewards,
        plain.values,
        episodes.mask,
        discount=0.9,
        gae_lambda=1.0,
        final_values=final,
    )
    torch.testing.assert_close(boot.advantages, normalize(expected, episodes.mask))
    everything_ends = episodes._replace(terminated=torch.ones(64))
    same = estimate_advantages(everything_ends, AdvantageConfig(discount=0.9, bootstrap=True))
    torch.testing.assert_close(same.advantages, plain.advantages)


class Diverging(gymnasium.vector.VectorEnv):
    """Three copies; the second diverges at its third step."""

    single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    single_action_space = gymnasium.spaces.Box(-1, 1, (1,))
    num_envs = 3

    def __init__(self):
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def set_tasks(self, tasks):
        pass

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.zeros((3, 1)), {}

    def step(self, actions):
        self.time += 1
        bad = np.array([False, self.time >= 3, False])
        rewards = np.where(bad, 0.0, 1.0)
        return np.zeros((3, 1)), rewards, np.zeros(3, bool), bad, {"diverged": bad}


def test_a_divergence_is_counted_once_and_masked():
    model = models.GaussianMLP(1, 1, SMALL)
    sampler = RolloutSampler(Diverging(), models.functional(model), episodes=1, horizon=6)
    params = tree.repeat(models.parameters(model), 3)
    episodes = sampler(params, np.zeros(3), (0, 0, 0))
    assert episodes.mask[:, 0].sum(-1).tolist() == [6, 2, 6]
    assert episodes.rewards[:, 0].sum(-1).tolist() == [6, 2, 6]
    assert episodes.diagnostics["diverged"].sum((1, 2)).tolist() == [0, 1, 0]
    assert not episodes.terminated.any()


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


class Flagging(TargetEnv):
    """Diverges at its second step when its goal is positive, and says so with a NumPy bool."""

    diagnostics = ("x_velocity",)

    def step(self, action):
        observation, reward, *_ = super().step(action)
        bad = np.any(self.task > 0) and self.time == 2
        info = {"x_velocity": float(self.time)}
        if bad:
            info["diverged"] = np.bool_(True)
        return observation, reward, False, bool(bad), info


def test_divergence_and_diagnostics_come_through_gymnasiums_vector_environments():
    env = vectorize(lambda: gymnasium.wrappers.TimeLimit(Flagging(), 3), 4)
    model = models.GaussianMLP(1, 1, SMALL)
    sampler = RolloutSampler(env, models.functional(model), episodes=2, horizon=3)
    params = tree.repeat(models.parameters(model), 2)
    episodes = sampler(params, np.array([[1.0], [-1.0]]), (0, 0, 0))
    assert episodes.mask.tolist() == [[[1, 0, 0]] * 2, [[1, 1, 1]] * 2]
    assert episodes.diagnostics["diverged"].sum((1, 2)).tolist() == [2, 0]
    assert episodes.diagnostics["x_velocity"][:, 0].tolist() == [[1, 0, 0], [1, 2, 3]]


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


def test_policies_that_blew_up_are_named():
    sampler, params, tasks = cheetah_sampler()
    params["log_std"] = params["log_std"].clone()
    params["log_std"][1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"tasks \[1\]"):
        sampler(params, tasks, (0, 0, 0))


def test_keys_that_differ_by_zeros_are_different():
    draws = [generator(*key).random() for key in ((0, 5), (0, 5, 0), (0, 5, 0, 0), (5, 0))]
    assert len(set(draws)) == 4


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


def test_normalizer_against_all_data_at_once():
    normalizer = Normalizer((3,))
    batches = [5 + 2 * torch.randn(4, 7, 3), -1 + torch.randn(2, 7, 3)]
    masks = [torch.ones(4, 7), (torch.arange(7) < 3).float().expand(2, 7)]
    for x, mask in zip(batches, masks, strict=True):
        normalizer.observe(x, mask)
        torch.testing.assert_close(normalizer(torch.zeros(3)), torch.zeros(3))  # frozen
    normalizer.commit()
    everything = torch.cat([x[mask > 0] for x, mask in zip(batches, masks, strict=True)])
    standardized = normalizer(everything)
    torch.testing.assert_close(standardized.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardized.std(0, unbiased=False), torch.ones(3))
    copy = Normalizer((3,))
    copy.load_state_dict(normalizer.state_dict())
    assert torch.equal(copy(everything), standardized)


def test_advantages_of_stacked_tasks_equal_one_at_a_time():
    model = models.GaussianMLP(3, 2, SMALL).double()
    policy, params = models.functional(model), models.parameters(model)
    stacked = random_episodes(policy, params, tasks=3, episodes=4, horizon=9, observation_size=3)
    config = AdvantageConfig(gae_lambda=0.9)
    together = torch.func.vmap(lambda e: estimate_advantages(e, config))(stacked)
    for i in range(3):
        torch.testing.assert_close(one(together, i), estimate_advantages(one(stacked, i), config))


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
        with pytest.raises(TypeError, match="Box or Discrete"):
            refuse(gymnasium.spaces.MultiBinary(3))
    with pytest.raises(ValueError, match="discount"):
        AdvantageConfig(discount=1.5)


@pytest.mark.gpu
@pytest.mark.parametrize("sampling_device", ["cpu", "cuda"])
def test_collect_and_update_on_cuda(sampling_device):
    env = vectorize(TargetEnv, 12)
    model = models.GaussianMLP(1, 1, SMALL)
    policy = models.functional(model)
    sampler = RolloutSampler(
        env,
        policy,
        episodes=4,
        horizon=2,
        advantages=AdvantageConfig(bootstrap=True),
        normalizer=Normalizer((1,)),
        device=sampling_device,
    )
    algorithm = MAML(policy, outer=TrustRegion(fisher_fraction=0.5), chunk_size=2)
    state = algorithm.init(tree.to(models.parameters(model), "cuda"))
    tasks = env.sample_tasks(3, generator(0))
    batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, 0, 7))
    assert all(leaf.is_cuda for leaf in tree.leaves(batch))
    sampler.normalizer.commit()
    new, metrics = algorithm.update(state, batch)
    assert metrics["outcome"] == "accepted"
    assert all(leaf.is_cuda for leaf in tree.leaves(new.meta))


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
