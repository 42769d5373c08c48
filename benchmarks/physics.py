"""The floor of an iteration on a CPU: its simulations alone, with no policy and no learning."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rlmaml.rng import Key, generator
from rlmaml.types import Episodes


class Physics:
    """Steps what was recorded again, from the same first states, by `Batch.step` alone.

    Contacts decide how long a step takes, so the very states are passed through that the episodes
    passed through, under the recorded actions.

    Args:
        env: the batched robots that were sampled from, `LocomotionVectorEnv`.
    """

    def __init__(self, env: Any) -> None:
        made: Any = env.unwrapped
        parameters = {**made._parameters, "autoreset_mode": "Disabled"}
        self._bare = type(made)(**parameters)
        self._frame_skip = parameters["robot"].frame_skip

    def seconds(self, episodes: Episodes, key: Key, step: int) -> float:
        """Seconds of all env steps of episodes [N, B, T] that were sampled with a key after
        `step` inner steps."""
        bare, (n, b, horizon) = self._bare, episodes.mask.shape
        rngs = [generator(*key[:-1], key[-1] + step, i) for i in range(n)]
        bare.reset(seed=[int(s) for rng in rngs for s in rng.integers(2**31, size=b)])
        space: Any = bare.single_action_space
        actions = episodes.actions.cpu().numpy().clip(space.low, space.high)
        actions = actions.transpose(2, 0, 1, 3).reshape(horizon, n * b, -1)
        alive = episodes.mask.cpu().numpy().transpose(2, 0, 1).reshape(horizon, -1) > 0
        took = 0.0
        for t in range(horizon):
            if not alive[t].any():
                break
            bare.simulation.controls[:] = actions[t]
            ids = None if alive[t].all() else np.flatnonzero(alive[t])
            clock = time.perf_counter()
            bare.simulation.batch.step(ids, nstep=self._frame_skip)
            took += time.perf_counter() - clock
        return took

    def ended_like(self, env: Any) -> bool:
        """True if all simulations are where those of `env` are, to the bit."""
        return np.array_equal(self._bare.simulation.qpos, env.unwrapped.simulation.qpos)

    def close(self) -> None:
        self._bare.close()
