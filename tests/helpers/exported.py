"""Tiny runs of three kinds of environment, and policies adapted from them."""

import json

import gymnasium
import numpy as np

import rlmaml
from runners.environments import make_single
from tests.helpers.runs import tiny

FAMILIES = {
    "half-cheetah-vel": ("HalfCheetahVel-v0", {"frame_skip": 1}),
    "navigation": ("Navigation2D-v0", {}),
    "tabular": ("TabularMDP-v0", {"num_states": 3, "num_actions": 2}),
}


def trained(folder, preset, *more):
    words = ["--env.kwargs", json.dumps(FAMILIES[preset][1]), *more]
    return tiny(folder / preset, *words, "--iterations", "1", preset=preset)


def adapted(folder, steps=1):
    env = make_single(folder.read_config())
    env.reset(seed=0)
    return rlmaml.load(folder.path).adapt(env, steps=steps), env


def observations_of(space, count):
    """As the environment gives them, and wide, so that actions leave the box and statistics clip"""
    rng = np.random.default_rng(0)
    if isinstance(space, gymnasium.spaces.Discrete):
        return space.start + rng.integers(space.n, size=count)
    return 5 * rng.standard_normal((count, *space.shape))
