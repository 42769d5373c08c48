"""Vector environments of robots and gymnasium's own environments agree to the bit."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.locomotion.tasks import Direction

M = 6


FORCES = {"contact_cost_weight": 5e-4, "include_cfrc_ext_in_observation": True}


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("env_id", "theirs", "parameters"),
    [
        ("rlmaml/HalfCheetahDir-v0", "HalfCheetah-v5", {}),
        ("rlmaml/HalfCheetahVel-v0", "HalfCheetah-v5", {"frame_skip": 1}),
        ("rlmaml/AntDir-v0", "Ant-v5", {}),
        ("rlmaml/AntVel-v0", "Ant-v5", FORCES),
    ],
)
def test_batched_equals_gymnasium(env_id, theirs, parameters):
    is_ant = theirs.startswith("Ant")
    arguments = {"include_cfrc_ext_in_observation": False, **parameters} if is_ant else parameters
    batched = gymnasium.make_vec(
        env_id, num_envs=M, autoreset_mode="Disabled", ctrl_cost_weight=0.1, **parameters
    )
    robots = [
        gymnasium.make(theirs, max_episode_steps=200, ctrl_cost_weight=0.1, **arguments)
        for _ in range(M)
    ]
    assert batched.single_observation_space == robots[0].observation_space
    assert batched.single_action_space == robots[0].action_space
    observations, _ = batched.reset(seed=list(range(40, 40 + M)))
    for i, robot in enumerate(robots):
        same(observations[i], robot.reset(seed=40 + i)[0])
    alive = np.ones(M, dtype=np.bool_)
    rng = np.random.default_rng(2)
    for _ in range(200):
        actions = rng.uniform(-1.3, 1.3, batched.action_space.shape)
        observations, rewards, terminations, truncations, info = batched.step(actions)
        for i in np.flatnonzero(alive):
            observation, reward, terminated, truncated, details = robots[i].step(actions[i])
            same(observations[i], observation)
            same([terminations[i], truncations[i]], [terminated, truncated])
            same(info["x_velocity"][i], details["x_velocity"])
            same(info["reward_ctrl"][i], details["reward_ctrl"])
            if is_ant and "contact_cost_weight" in parameters:
                same(info["reward_contact"][i], details["reward_contact"])
            if isinstance(batched._family, Direction) and not is_ant:
                same(rewards[i], reward)  # forward is gymnasium's own task
        alive &= ~(terminations | truncations)
    assert not alive.any()


def test_results_do_not_depend_on_the_number_of_simulations():
    few = gymnasium.make_vec("rlmaml/AntVel-v0", num_envs=2)
    many = gymnasium.make_vec("rlmaml/AntVel-v0", num_envs=300)
    few.reset(seed=0)
    many.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, many.action_space.shape)
        for a, b in zip(few.step(actions[:2])[:4], many.step(actions)[:4], strict=True):
            same(a, b[:2])


def test_the_layout_and_kind_of_the_actions_do_not_matter():
    vectors = [gymnasium.make_vec("rlmaml/AntDir-v0", num_envs=64) for _ in range(2)]
    actions = np.random.default_rng(0).uniform(-1, 1, (64, 8)).astype(np.float32)
    for vector in vectors:
        vector.reset(seed=0)
    a = vectors[0].step(actions)
    b = vectors[1].step(np.asfortranarray(actions.astype(np.float64)))
    for x, y in zip(a[:4], b[:4], strict=True):
        same(x, y)
