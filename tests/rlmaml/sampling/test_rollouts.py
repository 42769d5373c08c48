"""Rollouts: what is recorded, from whom, and where episodes end."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from envs.core import step
from rlmaml import MAML, TrustRegion, models, tree, value_baseline
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.returns import discounted_sum, generalized_advantages, normalize
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.faults import DIVERGED
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import CorridorEnv, TargetEnv, Walk, one

SMALL = models.PolicyConfig(hidden=(8,))


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
        return np.zeros((3, 1)), rewards, np.zeros(3, bool), bad, {DIVERGED: bad}


def test_a_divergence_is_counted_once_and_masked():
    model = models.GaussianMLP(1, 1, SMALL)
    sampler = RolloutSampler(Diverging(), models.functional(model), episodes=1, horizon=6)
    params = tree.repeat(models.parameters(model), 3)
    episodes = sampler(params, np.zeros(3), (0, 0, 0))
    assert episodes.mask[:, 0].sum(-1).tolist() == [6, 2, 6]
    assert episodes.rewards[:, 0].sum(-1).tolist() == [6, 2, 6]
    assert episodes.diagnostics["diverged"].sum((1, 2)).tolist() == [0, 1, 0]
    assert not episodes.terminated.any()


def test_our_environments_call_a_divergence_as_the_sampler_does():
    assert DIVERGED == step.DIVERGED
    env = gymnasium.make("rlmaml/Navigation2D-v0")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[4][DIVERGED] is False


class Flagging(TargetEnv):
    """Diverges at its second step when its goal is positive, and says so with a NumPy bool."""

    diagnostics = ("x_velocity",)

    def step(self, action):
        observation, reward, *_ = super().step(action)
        bad = np.any(self.task > 0) and self.time == 2
        info = {"x_velocity": float(self.time)}
        if bad:
            info[DIVERGED] = np.bool_(True)
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


def test_observations_are_noted_raw_and_learned_from_standardized():
    torch.manual_seed(0)
    model = models.GaussianMLP(2, 2, SMALL)
    normalizer = Normalizer((2,))
    normalizer.observe(3 + 2 * torch.randn(50, 2), torch.ones(50))
    normalizer.commit()  # or standardizing would change nothing
    frozen = {name: value.clone() for name, value in normalizer.state_dict().items()}
    policy, goals = models.functional(model), np.array([[0.2, 0.0], [9.0, 9.0]])
    params = tree.repeat(models.parameters(model), 2)
    how = {"episodes": 4, "horizon": 30}
    sampler = RolloutSampler(Walk(8, 30), policy, normalizer=normalizer, **how)
    found = sampler(params, goals, (0, 0, 0))
    assert all(torch.equal(value, frozen[n]) for n, value in normalizer.state_dict().items())

    # The same actions on what the environments gave: a policy that standardizes by itself.
    def standardizing(params, observations):
        return policy(params, normalizer(observations))

    raw = RolloutSampler(Walk(8, 30), standardizing, **how)(params, goals, (0, 0, 0))
    assert 0 < raw.mask[0].sum() < 4 * 30  # some end early, so that there is padding
    torch.testing.assert_close(
        found.actions * found.mask[..., None], raw.actions * raw.mask[..., None]
    )
    torch.testing.assert_close(found.observations, normalizer(raw.observations))
    torch.testing.assert_close(found.final_observations, normalizer(raw.final_observations))
    assert (raw.final_observations - found.final_observations).abs().max() > 0.5

    expected = Normalizer((2,))
    expected.load_state_dict(frozen)
    expected.observe(raw.observations, raw.mask)
    for each in (normalizer, expected):
        each.commit()
    for name, value in normalizer.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], msg=name)
