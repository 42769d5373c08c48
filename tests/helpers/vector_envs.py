"""Environments of this package, one and many."""

import gymnasium

import rlmaml

ENVIRONMENTS = {
    "HalfCheetahVel-v0": {"frame_skip": 1},
    "AntVel-v0": {},  # whose episodes can terminate
    "Navigation2D-v0": {},
    "TabularMDP-v0": {"num_states": 3, "num_actions": 2},
}


def single(name, horizon):
    return gymnasium.make(
        f"envs:rlmaml/{name}",
        max_episode_steps=horizon,
        disable_env_checker=True,
        **ENVIRONMENTS[name],
    )


def batched(name, copies, horizon, mode="SameStep"):
    return gymnasium.make_vec(
        f"envs:rlmaml/{name}",
        num_envs=copies,
        vectorization_mode="vector_entry_point",
        max_episode_steps=horizon,
        autoreset_mode=mode,
        **ENVIRONMENTS[name],
    )


def vectorized(name, copies, horizon):
    return rlmaml.vectorize(lambda: single(name, horizon), copies)
