"""Resets, seeds, time limits and autoreset modes of the vector environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from tests.helpers.vector_actions import random_actions

CHEETAH = "rlmaml/HalfCheetahVel-v0"


def make(env_id=CHEETAH, num_envs=4, **parameters):
    return gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=2, **parameters)


def actions_for(vector, seed=0):
    return random_actions(vector, np.random.default_rng(seed), 0.1)


def test_seeds(env_id):
    vector = make(env_id)
    by_integer, _ = vector.reset(seed=7)
    assert vector.np_random_seed == (7, 8, 9, 10)
    by_list, _ = vector.reset(seed=[7, 8, 9, 10])
    by_array, _ = vector.reset(seed=np.arange(7, 11))
    np.testing.assert_array_equal(by_integer, by_list)
    np.testing.assert_array_equal(by_integer, by_array)
    with pytest.raises(ValueError, match="3 seeds for 4"):
        vector.reset(seed=[1, 2, 3])


def test_reset_mask(env_id):
    vector = make(env_id, autoreset_mode="Disabled")
    first, _ = vector.reset(seed=7)
    moved = vector.step(actions_for(vector))[0]
    mask = np.array([True, False, False, True])
    options = {"reset_mask": mask}
    again, _ = vector.reset(seed=7, options=options)
    assert "reset_mask" in options
    np.testing.assert_array_equal(again[mask], first[mask])
    np.testing.assert_array_equal(again[~mask], moved[~mask])
    for bad in (mask[:2], mask.astype(int), np.zeros(4, dtype=np.bool_)):
        with pytest.raises(ValueError, match="reset_mask"):
            vector.reset(options={"reset_mask": bad})


def test_a_masked_seed_leaves_other_generators_alone():
    one, two = make(autoreset_mode="Disabled"), make(autoreset_mode="Disabled")
    for vector in (one, two):
        vector.reset(seed=7)
    one.reset(seed=100, options={"reset_mask": np.array([True, False, False, False])})
    np.testing.assert_array_equal(one.reset()[0][1:], two.reset()[0][1:])


def test_time_limit_and_disabled_autoreset(env_id):
    vector = make(env_id, autoreset_mode="Disabled", max_episode_steps=3)
    vector.reset(seed=0)
    actions = actions_for(vector)
    for _ in range(3):
        last = vector.step(actions)
    assert last[3].all()
    assert not last[2].any()
    frozen = vector.step(actions_for(vector, seed=1))
    np.testing.assert_array_equal(frozen[0], last[0])
    np.testing.assert_array_equal(frozen[1], 0.0)
    np.testing.assert_array_equal(frozen[2], last[2])
    np.testing.assert_array_equal(frozen[3], last[3])
    assert all((frozen[4][key] == 0.0).all() for key in vector.diagnostics)
    assert frozen[4].keys() == last[4].keys()

    # Two begin anew: the others stay as they are, the two run like a fresh environment.
    mask = np.array([False, True, False, True])
    vector.reset(seed=20, options={"reset_mask": mask})
    fresh = make(env_id, autoreset_mode="Disabled", max_episode_steps=3)
    fresh.reset(seed=20)
    for _ in range(2):
        step, expected = vector.step(actions), fresh.step(actions)
        for a, b, old in zip(step[:4], expected[:4], frozen[:4], strict=True):
            np.testing.assert_array_equal(a[mask], b[mask])
            np.testing.assert_array_equal(a[~mask], old[~mask])


def test_an_episode_that_ends_at_the_time_limit_is_both_terminated_and_truncated():
    vector = make("rlmaml/AntDir-v0", num_envs=3, max_episode_steps=2, autoreset_mode="Disabled")
    vector.reset(seed=0)
    vector.step(actions_for(vector))
    vector.simulation.qpos[1, 2] = 1.5  # above 1 m: it has fallen
    _, _, terminations, truncations, _ = vector.step(actions_for(vector))
    assert terminations.tolist() == [False, True, False]
    assert truncations.tolist() == [True, True, True]
