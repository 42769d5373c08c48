"""Batched environments under stable-baselines3, and its figures against the evaluation's."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

import rlmaml
from rlmaml import models, tree
from rlmaml.adapted import AdaptedPolicy
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.rollouts import RolloutSampler
from runners.export.export import to_sb3
from runners.export.sb3 import BatchedVecEnv
from tests.helpers.pendulum import GoalPendulum
from tests.helpers.problems import CorridorEnv
from tests.helpers.runs import evaluated, tiny
from tests.helpers.vector_envs import ENVIRONMENTS, batched, single, vectorized

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("make", [batched, vectorized])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_it_is_what_stable_baselines3_makes_of_single_environments(name, make):
    ours = BatchedVecEnv(make(name, 3, 4))
    theirs = DummyVecEnv([lambda: single(name, 4)] * 3)
    tasks = ours.env.sample_tasks(3, generator(0))
    ours.set_attr("tasks", tasks)
    for i, task in enumerate(tasks):
        theirs.env_method("set_task", task, indices=i)
    for venv in (ours, theirs):
        venv.seed(5)
        venv.action_space.seed(0)
    first, expected = ours.reset(), theirs.reset()
    np.testing.assert_array_equal(first, expected)
    assert first.dtype == expected.dtype == ours.observation_space.dtype
    for _ in range(10):
        actions = np.stack([ours.action_space.sample() for _ in range(3)])
        one, other = ours.step(actions), theirs.step(actions)
        for mine, yours in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(mine, yours)
            assert mine.dtype == yours.dtype
        for mine, yours in zip(one[3], other[3], strict=True):
            assert set(mine) == set(yours)
            for key in mine:
                np.testing.assert_array_equal(mine[key], yours[key])


def test_ends_are_told_from_time_limits():
    def make():
        return gymnasium.wrappers.TimeLimit(CorridorEnv(), 3)

    venv, theirs = BatchedVecEnv(rlmaml.vectorize(make, 2)), DummyVecEnv([make] * 2)
    for each in (venv, theirs):
        each.seed(0)
        each.reset()
    reported = []
    for actions in ([1, 1], [1, 0], [0, 1]):  # one walks to the end, one is out of time
        (*_, infos), (*_, expected) = (each.step(np.array(actions)) for each in (venv, theirs))
        assert infos == expected
        reported.append(infos)
    assert reported[1][0] == {"TimeLimit.truncated": False, "terminal_observation": 4}
    assert reported[2][1]["TimeLimit.truncated"]


@pytest.mark.parametrize("make", [batched, vectorized])
def test_tasks_are_set_and_read(make):
    venv = BatchedVecEnv(make("Navigation2D-v0", 3, 5), tasks=[0.1, 0.2])
    inner = VecMonitor(venv)  # through a wrapper, as users have it
    inner.set_attr("task", [0.3, 0.3], indices=[1])
    inner.env_method("set_task", np.array([0.4, 0.0]), indices=2)
    np.testing.assert_allclose(inner.get_attr("task"), [[0.1, 0.2], [0.3, 0.3], [0.4, 0]])
    np.testing.assert_allclose(inner.get_attr("task", [2, 0]), [[0.4, 0], [0.1, 0.2]])
    inner.set_options([{"task": [0.5, 0.5]}, {}, {}])
    inner.reset()
    np.testing.assert_allclose(inner.get_attr("task", 0), [[0.5, 0.5]])
    venv.set_tasks(np.zeros((3, 2)))
    np.testing.assert_array_equal(venv.get_attr("task"), np.zeros((3, 2)))
    assert venv.get_attr("task_space")[0] == venv.env.task_space
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    assert venv.render_mode is None
    with pytest.raises(ConfigError, match=r"shape \(2,\)"):
        venv.set_attr("task", [1.0])


def test_what_single_copies_have_is_reached():
    venv = BatchedVecEnv(rlmaml.vectorize(lambda: Monitor(GoalPendulum()), 2), tasks=[0.5])
    assert venv.get_attr("goal") == [0.5, 0.5]
    venv.set_attr("goal", 0.25, indices=1)
    assert venv.get_attr("goal") == [0.5, 0.25]
    assert venv.env_is_wrapped(Monitor) == [True, True]
    assert venv.env_method("get_episode_rewards", indices=[0]) == [[]]
    with pytest.raises(ConfigError, match="does not say what task"):
        venv.set_attr("task", [1.0], indices=[0])
    one = BatchedVecEnv(batched("Navigation2D-v0", 2, 5))
    with pytest.raises(AttributeError, match="run as one"):
        one.set_attr("goal", 1.0)
    with pytest.raises(AttributeError, match="only `set_task`"):
        one.env_method("fly")


def test_seeds():
    venv = BatchedVecEnv(batched("HalfCheetahVel-v0", 2, 5))
    venv.seed(7)
    first = venv.reset()
    assert not np.array_equal(venv.reset(), first)  # they are used once
    venv.seed([8, 7])
    np.testing.assert_array_equal(venv.reset(), first[::-1])
    with pytest.raises(ConfigError, match="3 seeds for 2"):
        venv.seed([1, 2, 3])


def test_other_autoreset_modes_are_refused():
    with pytest.raises(ConfigError, match="autoreset_mode='SameStep'"):
        BatchedVecEnv(batched("Navigation2D-v0", 2, 5, "Disabled"))
    makers = [lambda: single("Navigation2D-v0", 5)] * 2
    with pytest.raises(ConfigError, match="NEXT_STEP"):
        BatchedVecEnv(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP))


@pytest.mark.parametrize("name", ["HalfCheetahVel-v0", "TabularMDP-v0"])
@pytest.mark.parametrize(("algorithm", "kwargs"), [(PPO, {"batch_size": 20}), (A2C, {})])
def test_its_algorithms_learn(name, algorithm, kwargs):
    venv = VecMonitor(BatchedVecEnv(batched(name, 4, 5)))
    if name != "TabularMDP-v0":  # VecNormalize is for vectors
        venv = VecNormalize(venv)
    model = algorithm("MlpPolicy", venv, n_steps=10, device="cpu", **kwargs).learn(80)
    assert model.num_timesteps == 80
    assert [episode["l"] for episode in model.ep_info_buffer] == [5] * 16
    mean, _ = evaluate_policy(model, venv, n_eval_episodes=6)
    assert np.isfinite(mean)


HORIZON = 30
SMALL = models.PolicyConfig(hidden=(16, 16), init_log_std=-1.0)


def cheetah_policy(env):
    module = models.GaussianMLP(17, 6, SMALL)
    return AdaptedPolicy(module, env.single_observation_space, env.single_action_space)


def sampled(policy, goal, seed, episodes, deterministic):
    """Returns [B] by the evaluation's sampler, and the seeds of its environments."""
    sampler = RolloutSampler(
        batched("HalfCheetahVel-v0", episodes, HORIZON, "Disabled"),
        models.functional(policy.module),
        episodes=episodes,
        horizon=HORIZON,
        deterministic=deterministic,
    )
    key = (seed, 0, 0)
    rewards = sampler(tree.repeat(policy.params, 1), np.array([[goal]]), key).rewards[0]
    seeds = generator(*key, 0).integers(2**31, size=episodes)
    return rewards.sum(-1).numpy(), seeds.tolist()


def test_evaluate_policy_gives_the_evaluators_returns():
    """With likeliest actions: the same first states, so the same returns.

    The sampler's stacked matrix products may round otherwise than stable-baselines3's (1e-7),
    and 30 steps of a cheetah's contacts could magnify that (here to 1e-7), which the tolerance is
    for; where the shapes of the products agree, so do the bits.
    """
    venv = BatchedVecEnv(batched("HalfCheetahVel-v0", 8, HORIZON), tasks=[1.5])
    policy = cheetah_policy(venv.env)
    expected, seeds = sampled(policy, 1.5, 3, 8, deterministic=True)
    model = to_sb3(policy, venv)
    returns = {}
    for name, acting in (("model", model), ("policy", policy)):
        venv.seed(seeds)
        returns[name], lengths = evaluate_policy(
            acting, venv, 8, deterministic=True, return_episode_rewards=True, warn=False
        )
        assert lengths == [HORIZON] * 8
    assert returns["model"] == returns["policy"]
    np.testing.assert_allclose(returns["model"], expected, rtol=1e-4)

    alone = single("HalfCheetahVel-v0", HORIZON)
    alone.unwrapped.set_task([1.5])
    one_by_one = []
    for seed in seeds:
        one = DummyVecEnv([lambda: alone])
        one.seed(seed)
        one_by_one.append(evaluate_policy(model, one, 1, deterministic=True, warn=False)[0])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-4)


def test_evaluate_policy_gives_what_the_command_reports(tmp_path):
    """An exported policy, in the episodes of `rlmaml evaluate --deterministic`."""
    folder = tiny(tmp_path / "run", "--horizon", HORIZON)
    result = evaluated(folder, tasks=1, episodes=5, steps=1, deterministic=True)
    (task,) = result["per_task"]
    drawn = evaluated(folder, tasks=1, episodes=5, steps=1)["per_task"][0]["return"]
    assert not np.allclose(task["return"], drawn)
    venv = BatchedVecEnv(batched("HalfCheetahVel-v0", 5, HORIZON), tasks=task["task"])
    for k, expected in enumerate(task["return"]):
        policy = rlmaml.load(folder.path).adapt(venv.env, steps=k)
        seeds = generator(0, 0, Phase.EVALUATION_ROLLOUT + k, 0).integers(2**31, size=5)
        venv.seed(seeds.tolist())
        found, _ = evaluate_policy(to_sb3(policy, venv), venv, 5, deterministic=True, warn=False)
        assert found == pytest.approx(expected, rel=1e-4)


def test_drawn_actions_give_the_evaluators_mean_return():
    venv = BatchedVecEnv(batched("HalfCheetahVel-v0", 50, HORIZON), tasks=[1.5])
    policy = cheetah_policy(venv.env)
    expected, _ = sampled(policy, 1.5, 4, 400, deterministic=False)
    model = to_sb3(policy, venv)
    torch.manual_seed(1)
    venv.seed(1)
    returns, _ = evaluate_policy(
        model, venv, 400, deterministic=False, return_episode_rewards=True, warn=False
    )
    error = np.hypot(np.std(returns), expected.std()) / 20  # of the difference of two means of 400
    assert abs(np.mean(returns) - expected.mean()) < 3 * error
