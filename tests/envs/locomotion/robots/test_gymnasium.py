"""Robots are gymnasium's, to the bit, single and batched: Ant and HalfCheetah elsewhere."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.robots.hopper import Hopper
from envs.locomotion.robots.humanoid import Humanoid
from envs.locomotion.robots.swimmer import Swimmer
from envs.locomotion.robots.walker2d import Walker2d
from envs.locomotion.tasks import Direction
from envs.locomotion.vector_env import LocomotionVectorEnv

EVERYTHING = {
    f"include_{name}_in_observation": True
    for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
}
ROBOTS = {
    "Hopper-v5": (Hopper, {}, 1.0),
    "Walker2d-v5": (Walker2d, {}, 1.0),
    "Humanoid-v5": (Humanoid, {**EVERYTHING, "contact_cost_weight": 5e-7}, 1.25),
    "Swimmer-v5": (Swimmer, {}, 1.0),
}
PLACED = {"exclude_current_positions_from_observation": False}
IMMORTAL = {"terminate_when_unhealthy": False}
CASES = [
    *((name, {}) for name in ROBOTS),
    *((name, PLACED) for name in ROBOTS),
    *((name, IMMORTAL) for name in ("Hopper-v5", "Walker2d-v5", "Humanoid-v5")),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_robot_is_gymnasiums(name, options):
    robot, given, weight = ROBOTS[name]
    made = robot(**given, **options)
    family = Direction(forward_reward_weight=weight)
    theirs = gymnasium.make(name, **options).unwrapped
    single = LocomotionEnv(made, family)
    batches = [
        LocomotionVectorEnv(made, family, 2, autoreset_mode="Disabled", num_threads=threads)
        for threads in (1, 2)
    ]
    assert single.observation_space == theirs.observation_space
    assert single.action_space == theirs.action_space
    assert single.dt == theirs.dt
    expected, _ = theirs.reset(seed=5)
    observations = [
        single.reset(seed=5, options={"task": 0})[0],
        *(batch.reset(seed=[5, 6], options={"tasks": [0, 0]})[0][0] for batch in batches),
    ]
    rng = np.random.default_rng(0)
    ended = fallen = False
    for _ in range(80):
        for observation in observations:
            np.testing.assert_array_equal(observation, expected)
        if ended:
            break
        action = rng.uniform(-1.0, 1.0, theirs.action_space.shape) * theirs.action_space.high
        expected, reward, ended, _, details = theirs.step(action)
        fallen |= not getattr(theirs, "is_healthy", True)
        ours = [single.step(action), *(batch.step(np.stack([action] * 2)) for batch in batches)]
        observations = [ours[0][0], *(step[0][0] for step in ours[1:])]
        infos = [ours[0][4], *({k: v[0] for k, v in step[4].items()} for step in ours[1:])]
        # One after another, gymnasium and this package add the parts in different orders.
        np.testing.assert_allclose(ours[0][1], reward, rtol=1e-12)
        assert ours[0][1] == ours[1][1][0] == ours[2][1][0]
        assert [ended] * 3 == [ours[0][2], ours[1][2][0], ours[2][2][0]]
        for info in infos:
            for key in info.keys() & details.keys() - {"task"}:
                assert info[key] == details[key], key
    assert fallen or name == "Swimmer-v5"  # the end was compared too
    assert {"x_velocity", "reward_forward", "reward_ctrl"} <= details.keys() & infos[0].keys()
