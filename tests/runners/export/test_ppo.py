"""PPO models of adapted policies: the same actions, and learning on."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rlmaml import models
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.learner import AdaptedPolicy
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.spaces import encoder
from runners.export.export import export_sb3, export_torch, statistics
from runners.export.ppo import ppo_settings, to_sb3
from runners.export.sb3 import BatchedVecEnv
from tests.helpers.exported import FAMILIES, adapted, observations_of
from tests.helpers.vector_envs import batched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("preset", FAMILIES)
def test_ppo_predicts_the_same_to_the_bit(runs, preset, tmp_path):
    policy, env = adapted(runs[preset])
    export_sb3(policy, env, tmp_path / "policy.zip")
    model = PPO.load(tmp_path / "policy.zip", device="cpu")
    for count in (1, 2, 7):
        given = observations_of(policy.observation_space, count)
        (one, _), (other, _) = (each.predict(given, deterministic=True) for each in (model, policy))
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    (one, _), (other, _) = (each.predict(given[0], deterministic=True) for each in (model, policy))
    np.testing.assert_array_equal(one, other)
    assert np.shape(one) == np.shape(other)
    tensor, _ = model.policy.obs_to_tensor(given)
    theirs, ours = model.policy.get_distribution(tensor).distribution, policy.distribution(given)
    if preset == "tabular":
        torch.testing.assert_close(theirs.logits, ours.logits.log_softmax(-1))
    else:
        assert torch.equal(theirs.stddev, ours.log_std.exp())


@pytest.mark.parametrize("preset", ["half-cheetah-vel", "tabular"])
def test_observation_statistics_come_along(standardized, preset, tmp_path):
    policy, env = adapted(standardized[preset])
    exported = export_sb3(policy, env, tmp_path / "policy.zip")
    given = observations_of(policy.observation_space, 7)
    expected, _ = policy.predict(given, deterministic=True)
    model = PPO.load(tmp_path / "policy.zip", device="cpu")
    if preset == "tabular":  # they are in the first layer
        assert not statistics(tmp_path / "policy.zip").exists()
        logits = model.policy.get_distribution(torch.as_tensor(given)).distribution.logits
        ours = policy.distribution(given).logits.log_softmax(-1)
        torch.testing.assert_close(logits, ours, rtol=1e-5, atol=1e-6)
        return
    venv = VecNormalize.load(str(tmp_path / "policy-vecnormalize.pkl"), DummyVecEnv([lambda: env]))
    assert (venv.training, venv.norm_reward) == (False, False)
    actions, _ = model.predict(venv.normalize_obs(given), deterministic=True)
    np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(venv.normalize_obs(given)).max() == 10
    before = venv.obs_rms.mean.copy()
    assert exported.get_vec_normalize_env() is not None
    PPO.load(tmp_path / "policy.zip", venv, n_steps=12, batch_size=6).learn(12)
    np.testing.assert_array_equal(venv.obs_rms.mean, before)


def test_learning_goes_on(runs, tmp_path):
    policy, env = adapted(runs["half-cheetah-vel"])
    model = export_sb3(policy, env, tmp_path / "policy", n_steps=12, batch_size=6)
    assert (tmp_path / "policy.zip").exists()
    model.learn(12)
    assert not torch.equal(model.policy.action_net.bias, policy.module.mean[-1].bias)
    alone = gymnasium.make(
        "envs:rlmaml/HalfCheetahVel-v0", max_episode_steps=6, disable_env_checker=True, frame_skip=1
    )
    batch = batched("HalfCheetahVel-v0", 3, 6)
    for other in (alone, BatchedVecEnv(batch, [1.5])):
        model = PPO.load(tmp_path / "policy.zip", env=other, batch_size=6)
        assert model.learn(20).num_timesteps == 12 * model.n_envs * (1 + (other is alone))
    assert to_sb3(policy, batch, n_steps=6, batch_size=6).learn(18).num_timesteps == 18


def test_settings_are_those_of_the_run():
    config = TrainConfig(horizon=200)
    expected = {"gamma": 0.99, "gae_lambda": 1.0, "n_steps": 2000, "batch_size": 80}
    assert ppo_settings(config) == expected
    assert ppo_settings(config, copies=5)["n_steps"] == 400
    assert ppo_settings(TrainConfig(horizon=1)) == expected | {"n_steps": 2048, "batch_size": 64}
    assert ppo_settings(TrainConfig(horizon=5003)) == expected | {"n_steps": 5003, "batch_size": 64}


BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,))


def gaussian(low=-1.0, config=None):
    action = gymnasium.spaces.Box(low, 1.0, (2,))
    return AdaptedPolicy(models.GaussianMLP(3, 2, config or models.PolicyConfig()), BOX, action)


class Blank(gymnasium.Env):
    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


def test_the_least_standard_deviation_is_kept_and_no_hidden_layer_will_do():
    config = models.PolicyConfig(hidden=(), init_log_std=-7.0, min_log_std=-2.0)
    policy = gaussian(config=config)
    model = to_sb3(policy, Blank(policy.observation_space, policy.action_space))
    assert model.policy.log_std.tolist() == [-2.0, -2.0]
    given = observations_of(policy.observation_space, 7).astype(np.float32)
    one, other = (each.predict(given, deterministic=True)[0] for each in (model, policy))
    np.testing.assert_array_equal(one, other)


SPACES = gymnasium.spaces
SEEN = {
    "vectors": SPACES.Box(-1, 1, (3,)),
    "numbers": SPACES.MultiDiscrete([2, 4]),
    "bits": SPACES.MultiBinary(3),
}
ACTED = {
    "scaled": SPACES.Box(np.float32([5, 0]), np.float32([10, 1000])),
    "numbers": SPACES.MultiDiscrete([3, 2, 5]),
    "bits": SPACES.MultiBinary(3),
}


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("acted", ACTED)
@pytest.mark.parametrize("standardized", [False, True])
def test_numbers_bits_and_scaled_actions_are_held(seen, acted, standardized, tmp_path):
    observations, actions = SEEN[seen], ACTED[acted]
    shape = encoder(observations)[1]
    module = models.policy_for(shape, actions, models.PolicyConfig(hidden=(6,)))
    normalizer = Normalizer(shape) if standardized else None
    if normalizer is not None:
        normalizer.observe(2 * torch.rand(50, *shape), torch.ones(50))
        normalizer.commit()
    how = {"rescale_actions": acted == "scaled"}
    policy = AdaptedPolicy(module, observations, actions, normalizer, **how)
    observations.seed(0)
    given = np.stack([observations.sample() for _ in range(7)])
    expected = policy.act(given, deterministic=True)
    model = to_sb3(policy, Blank(observations, actions))
    statistics = model.get_vec_normalize_env()
    shown = given if statistics is None else statistics.normalize_obs(given)
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(model.predict(shown, deterministic=True)[0], expected, **tolerance)
    tensor, _ = model.policy.obs_to_tensor(shown)
    theirs, ours = model.policy.get_distribution(tensor).distribution, policy.distribution(given)
    if acted == "scaled":
        torch.testing.assert_close(theirs.stddev, ours.log_std.exp() * torch.tensor([2.5, 500.0]))
    elif acted == "bits":
        torch.testing.assert_close(theirs.logits, ours.logits, rtol=1e-4, atol=1e-5)
    program = export_torch(policy, tmp_path / "policy.pt2").module()
    flat = np.stack([SPACES.flatten(observations, each) for each in given])
    answer = program(torch.from_numpy(flat.astype(np.float32)))
    np.testing.assert_allclose(answer["action"], expected, **tolerance)


@pytest.mark.parametrize(
    ("observations", "words"),
    [
        (SPACES.Dict(a=SPACES.Box(-1, 1, (3,))), "takes no observations of Dict.*--to torch"),
        (SPACES.MultiBinary([1, 3]), "takes numbers in a row"),
        (SPACES.MultiDiscrete([3], start=[1]), "counts from 0"),
    ],
)
def test_observations_that_stable_baselines3_cannot_have_are_refused(observations, words):
    policy = AdaptedPolicy(models.GaussianMLP(3, 2), observations, SPACES.Box(-1, 1, (2,)))
    with pytest.raises(ConfigError, match=words):
        to_sb3(policy, Blank(observations, policy.action_space))


def test_spaces_that_stable_baselines3_cannot_have_are_refused():
    policy = gaussian(low=-np.inf)
    with pytest.raises(ConfigError, match="bounded"):
        to_sb3(policy, Blank(policy.observation_space, policy.action_space))
    actions = gymnasium.spaces.Discrete(2, start=1)
    policy = AdaptedPolicy(models.CategoricalMLP(3, 2), BOX, actions)
    with pytest.raises(ConfigError, match="counts from 0"):
        to_sb3(policy, Blank(BOX, actions))
    policy = gaussian()
    with pytest.raises(ConfigError, match=r"action_space is .*the environment's is"):
        to_sb3(policy, Blank(BOX, gymnasium.spaces.Box(-2, 2, (2,))))
