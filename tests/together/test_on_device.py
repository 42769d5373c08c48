"""Rollouts in tensors: the same episodes as on the host, and nothing is looked at on the way."""

import gymnasium
import numpy as np
import pytest
import torch

from envs import registry
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.tasks import GoalVelocity
from envs.locomotion.vector_env import LocomotionVectorEnv
from rlmaml import models, tree
from rlmaml.errors import EnvironmentFault
from rlmaml.rng import generator
from rlmaml.sampling import on_device
from rlmaml.sampling.faults import DIVERGED
from rlmaml.sampling.fill_to_horizon import FillToHorizon
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.stacked_mlp import actor
from tests.helpers.devices import Elsewhere, Shapes, Tensors, on_cpu

TASKS, EPISODES, HORIZON = 3, 4, 30
REPORTED = {"x_velocity": "x_velocity"}
FALLING = "rlmaml/HopperVel-v0"
ROBOTS = [row.id for row in registry.ENVIRONMENTS if row.batched == registry.ROBOTS]
IDS = (
    "rlmaml/HalfCheetahDir-v0",
    FALLING,
    "rlmaml/AntDir2D-v0",
    "rlmaml/AntGoal-v0",
    "rlmaml/HopperParams-v0",
    "rlmaml/HumanoidDir-v0",
    "rlmaml/SwimmerVel-v0",
    "rlmaml/PaperHalfCheetahVel-v0",
    "rlmaml/PaperAntDir-v0",
    "rlmaml/ProMPHumanoidDir2D-v0",
    "rlmaml/PEARLHalfCheetahVel-v0",
)


class Counting(Tensors):
    """Counts steps."""

    steps = 0

    def advance(self, controls):
        super().advance(controls)
        self.steps += 1


def made(env_id, simulate=None, horizon=HORIZON, normalizer=None, **settings):
    """A sampler in a robot's copies, its policies and tasks."""
    chosen = {} if simulate is None else {"simulate": simulate}
    env = gymnasium.make_vec(
        env_id,
        num_envs=TASKS * EPISODES,
        num_threads=1,
        autoreset_mode="Disabled",
        max_episode_steps=horizon,
        **chosen,
    )
    size = env.single_observation_space.shape[0]
    torch.manual_seed(0)
    model = models.GaussianMLP(size, env.single_action_space.shape[0], models.PolicyConfig((8,)))
    sampler = RolloutSampler(
        env,
        models.functional(model),
        episodes=EPISODES,
        horizon=HORIZON,
        normalizer=None if normalizer is None else Normalizer((size,)),
        **settings,
    )
    params = tree.repeat(models.parameters(model), TASKS)
    return sampler, params, env.sample_tasks(TASKS, generator(0))


def alike(mine, host):
    """Whether episodes are the same: all of them, and where they are valid."""
    valid = host.mask[..., None] > 0
    torch.testing.assert_close(mine.mask, host.mask, rtol=0, atol=0)
    torch.testing.assert_close(mine.terminated, host.terminated, rtol=0, atol=0)
    for name in ("rewards", "log_probs", "final_observations"):
        torch.testing.assert_close(getattr(mine, name), getattr(host, name), rtol=1e-5, atol=1e-5)
    for name in ("observations", "actions"):
        pair = [torch.where(valid, getattr(each, name), 0) for each in (mine, host)]
        torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-6)
    assert mine.diagnostics.keys() == host.diagnostics.keys()
    for name, values in host.diagnostics.items():
        torch.testing.assert_close(mine.diagnostics[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("env_id", IDS)
def test_episodes_are_those_of_the_host(env_id):
    episodes = []
    for simulate in (Tensors, None):
        sampler, params, tasks = made(env_id, simulate)
        assert (sampler._there is None) == (simulate is None)
        episodes.append(sampler(params, tasks, (1, 2, 3)))
    alike(*episodes)
    assert episodes[0].rewards.any()


@pytest.mark.parametrize(
    "settings", [{"deterministic": True}, {"rescale_actions": True}, {"normalizer": True}], ids=str
)
def test_and_with_other_settings(settings):
    episodes = []
    for simulate in (Tensors, None):
        sampler, params, tasks = made("rlmaml/HumanoidDir-v0", simulate, **settings)
        for k in range(2):
            found = sampler(params, tasks, (1, 2, 3), "query", k)
            if sampler.normalizer is not None:
                sampler.normalizer.commit()
        episodes.append(found)
    alike(*episodes)


def test_some_fall_and_are_left_alone():
    sampler, params, tasks = made(FALLING, Tensors)
    episodes = sampler(params, tasks, (0, 0, 0))
    lengths = episodes.mask.sum(-1)
    assert 1 < lengths.min() < lengths.max() <= HORIZON
    assert (episodes.terminated == (lengths < HORIZON)).all()
    assert not episodes.rewards[episodes.mask == 0].any()


def test_a_time_limit_is_no_end():
    sampler, params, tasks = made("rlmaml/HalfCheetahVel-v0", Tensors, horizon=HORIZON // 2)
    episodes = sampler(params, tasks, (0, 0, 0))
    assert (episodes.mask.sum(-1) == HORIZON // 2).all()
    assert not episodes.terminated.any()


def test_batches_counted_in_steps_are_those_of_the_host():
    episodes = []
    for simulate in (Tensors, None):
        sampler, params, tasks = made(FALLING, simulate)
        episodes.append(FillToHorizon(sampler)(params, tasks, (0, 0, 0)))
    alike(*episodes)
    assert episodes[0].mask.shape[1] > EPISODES


def test_one_that_blows_up_is_flagged_and_contained():
    class Blowing(Counting):
        def tensors(self):
            state = super().tensors()
            if self.steps == 5:
                state.qpos[1] = torch.nan
            return state

        def blown(self):
            return torch.arange(self.num_envs) == (1 if self.steps == 5 else -1)

    sampler, params, tasks = made("rlmaml/HalfCheetahVel-v0", Blowing)
    episodes = sampler(params, tasks, (0, 0, 0))
    reference, params, tasks = made("rlmaml/HalfCheetahVel-v0", Tensors)
    expected = reference(params, tasks, (0, 0, 0))
    assert all(torch.isfinite(leaf).all() for leaf in tree.leaves(episodes))
    assert episodes.mask[0, 1].sum() == 4
    assert episodes.diagnostics["diverged"].flatten().nonzero().tolist() == [[HORIZON + 4]]
    assert not episodes.terminated.any()
    others = torch.ones(TASKS, EPISODES, dtype=torch.bool)
    others[0, 1] = False
    for mine, host in zip(tree.leaves(episodes), tree.leaves(expected), strict=True):
        torch.testing.assert_close(mine[others], host[others], rtol=0, atol=0)


def test_numbers_that_are_not_finite_are_found_and_said():
    class Odd(Counting):
        def tensors(self):
            state = super().tensors()
            if self.steps == 6:
                state.qvel[5, 0] = torch.inf
            return state

    sampler, params, tasks = made("rlmaml/HalfCheetahVel-v0", Odd)
    message = r"observation that is not finite \(inf\) in step 6 of copy 5 \(task 1, episode 1\)"
    with pytest.raises(EnvironmentFault, match=message):
        sampler(params, tasks, (0, 0, 0))


def test_actions_that_are_not_finite_are_found_and_said():
    sampler, params, tasks = made("rlmaml/HalfCheetahVel-v0", Tensors)
    params["mean.0.weight"] = params["mean.0.weight"].clone()
    params["mean.0.weight"][2] = torch.nan

    class Numbing(Tensors):
        def advance(self, controls):
            super().advance(controls.nan_to_num())

    sampler.env.simulation.__class__ = Numbing
    with pytest.raises(FloatingPointError, match=r"tasks \[2\]"):
        sampler(params, tasks, (0, 0, 0))


def test_what_a_simulation_had_no_room_for_is_refused_where_it_counts():
    class Crowded(Tensors):
        blown_up = -1

        def lacking(self):
            return (torch.arange(self.num_envs) == 3).int()

        def blown(self):
            return torch.arange(self.num_envs) == self.blown_up

    sampler, params, tasks = made("rlmaml/HalfCheetahVel-v0", Crowded)
    with pytest.raises(RuntimeError, match="no room"):
        sampler(params, tasks, (0, 0, 0))
    Crowded.blown_up = 3  # in the first step, and at rest from then on
    assert sampler(params, tasks, (0, 0, 0)).mask[0, 3].sum() == 0


def test_a_law_for_numpy_alone_goes_by_the_host():
    class Pace(GoalVelocity):
        def reward(self, tasks, result):
            return np.exp(-np.square(result.velocity[:, 0] - tasks[:, 0]))

    class Seeing(HalfCheetah):
        def observation(self, state):
            return np.concatenate([state.qpos, state.qvel], axis=1)

    def on_device(robot, tasks, simulate):
        return LocomotionVectorEnv(robot, tasks, 2, num_threads=1, simulate=simulate).on_device

    velocities = GoalVelocity((0, 2))
    assert on_device(HalfCheetah(), velocities, Shapes) is not None
    for robot, tasks in ((HalfCheetah(), Pace((0, 2))), (Seeing(), velocities)):
        with pytest.warns(RuntimeWarning, match=f"{type(robot).__name__} or its tasks cannot be"):
            assert on_device(robot, tasks, Shapes) is None


def test_policies_elsewhere_sample_as_ever():
    sampler, *_ = made("rlmaml/HalfCheetahVel-v0", Tensors)
    assert on_device.find(sampler.env, torch.device("meta")) is None
    assert on_device.find(sampler.env, torch.device("cpu")) is not None


@pytest.mark.parametrize("env_id", ROBOTS)
def test_no_step_looks_at_a_value_or_makes_anything_elsewhere(env_id):
    """All that a rollout does between its beginning and its end, without values.

    What is brought from the host beside them is seen on a GPU alone (below).
    """
    sampler, params, tasks = made(env_id, Shapes)
    sampler.env.set_tasks(np.repeat(tasks, EPISODES, axis=0))
    robots = sampler.env.on_device
    params = tree.to(params, "meta")
    alive = torch.ones(TASKS * EPISODES, dtype=torch.bool, device="meta")
    trajectory = on_device.Trajectory(
        (TASKS, EPISODES), REPORTED, alive, robots.begin(range(TASKS * EPISODES), alive)
    )
    size = trajectory.seen.shape[2:]
    seen = Normalizer(size).on(torch.device("meta"))
    act = actor(sampler.policy, params)
    filtered = on_device.action_filter(sampler.env.single_action_space, True, torch.device("meta"))
    noise = torch.zeros(TASKS, EPISODES, *sampler.env.single_action_space.shape, device="meta")
    robots.step(filtered(act(seen(trajectory.seen)).sample(noise).flatten(0, 1)))  # constants come
    with Elsewhere() as elsewhere:
        for _ in range(3):
            policy = act(seen(trajectory.seen))
            actions = policy.sample(noise)
            step = robots.step(filtered(actions.flatten(0, 1)))
            assert {*REPORTED.values(), DIVERGED} <= step[4].keys()
            trajectory.record(policy, actions, step)
        episodes = trajectory.finish()
    assert elsewhere.made == []
    assert not any(map(on_cpu, tree.leaves(episodes)))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["rlmaml/HalfCheetahDir-v0", FALLING])
def test_mujoco_warp_gives_the_episodes_that_it_gives_the_host(env_id):
    pytest.importorskip("mujoco_warp", reason="needs the extra warp")
    from envs.locomotion.warp import WarpBatch

    episodes = []
    for there in (True, False):
        sampler, params, tasks = made(env_id, WarpBatch)
        if not there:
            sampler._there = None
        episodes.append(sampler(params, tasks, (1, 2, 3)))
    alike(*episodes)


@pytest.mark.gpu
def test_on_a_gpu_rollouts_stay_there():
    pytest.importorskip("mujoco_warp", reason="needs the extra warp")
    from envs.locomotion.warp import WarpBatch

    sampler, params, tasks = made("rlmaml/HalfCheetahDir-v0", WarpBatch, device="cuda")
    assert sampler._there is not None
    found = sampler(params, tasks, (1, 2, 3))
    again = sampler(params, tasks, (1, 2, 3))  # of a graph that was recorded
    seeds, alive = range(TASKS * EPISODES), torch.ones(TASKS * EPISODES, device="cuda") > 0
    sampler._there.begin(seeds, alive)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            sampler._there.step(torch.zeros(TASKS * EPISODES, 6, device="cuda").double())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.rewards.is_cuda
    torch.testing.assert_close(again.rewards, found.rewards)
    sampler._there = None
    host = sampler(params, tasks, (1, 2, 3))
    torch.testing.assert_close(found.rewards[..., :5], host.rewards[..., :5], atol=1e-3, rtol=1e-3)
