"""Environments of this package, one and many."""

import gymnasium

import rlmaml

WORLDS = {
    "HalfCheetahVel-v0": {"frame_skip": 1},
    "AntVel-v0": {},  # whose episodes can terminate
    "Navigation2D-v0": {},
    "TabularMDP-v0": {"num_states": 3, "num_actions": 2},
}


def single(world, horizon):
    return gymnasium.make(
        f"envs:rlmaml/{world}",
        max_episode_steps=horizon,
        disable_env_checker=True,
        **WORLDS[world],
    )


def batched(world, copies, horizon, mode="SameStep"):
    return gymnasium.make_vec(
        f"envs:rlmaml/{world}",
        num_envs=copies,
        vectorization_mode="vector_entry_point",
        max_episode_steps=horizon,
        autoreset_mode=mode,
        **WORLDS[world],
    )


def vectorized(world, copies, horizon):
    return rlmaml.vectorize(lambda: single(world, horizon), copies)
