"""One episode of a policy, drawn with a caption: one half of a video."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlmaml.errors import ConfigError
from runners import environments
from runners.rendering import captions


class Readout(NamedTuple):
    """A number of a step's `info` that the caption shows."""

    name: str
    unit: str
    seconds: float
    """Over which it is averaged."""


READOUTS = {"x_velocity": Readout("velocity", " m/s", 0.2), "distance": Readout("distance", "", 0)}
"""By their key in `info`."""


class Acts(Protocol):
    """Demands of a panel on a policy."""

    def act(self, observation: np.ndarray, deterministic: bool) -> np.ndarray:
        """The action for one observation."""
        ...


class Panel:
    """An episode of one policy, and its picture with a caption.

    Args:
        env: draws as `rgb_array`, and has the task.
        policy: acts.
        title: of the policy, and `label` of the task, for the caption.
        size: width and height of the picture without its caption, in pixels.
        deterministic: take the likeliest actions.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        policy: Acts,
        title: str,
        label: str,
        size: int,
        deterministic: bool = False,
    ) -> None:
        self._env, self._policy, self._deterministic = env, policy, deterministic
        self._title, self._label, self._size = title, label, size

    def reset(self, seed: int) -> None:
        """Begin the episode."""
        self._observation, _ = self._env.reset(seed=seed)
        self.total, self.ended = 0.0, False
        self._readout = ""
        self._recent: deque[float] = deque()
        self._last: Image.Image | None = None

    def step(self) -> None:
        """Take one step; nothing once the episode has ended.

        Raises:
            ConfigError: an action that is not finite.
        """
        if self.ended:
            return
        action = self._policy.act(self._observation, self._deterministic)
        if not np.isfinite(action).all():
            raise ConfigError(f"The policy {self._title} is not finite: the inner step diverged.")
        self._observation, reward, terminated, truncated, info = self._env.step(action)
        self.total += float(reward)
        self.ended = bool(terminated or truncated)
        for key, readout in READOUTS.items():
            value = info.get(key)
            if isinstance(value, int | float | np.number):  # or it means something else
                count = max(1, round(readout.seconds / step_seconds(self._env)))
                self._recent = deque([*self._recent, float(value)], maxlen=count)
                self._readout = f"{readout.name} {np.mean(self._recent):.2f}{readout.unit}"

    def picture(self) -> Image.Image:
        """The current state; once the episode has ended, its last one."""
        if self._last is not None:
            return self._last
        frame: NDArray[np.uint8] = environments.picture(self._env)
        lines = ((self._title, self._label), (f"return {self.total:.1f}", self._readout))
        panel = captions.with_caption(frame, self._size, lines)
        if self.ended:
            self._last = panel
        return panel


def step_seconds(env: gymnasium.Env) -> float:
    """Seconds that a step lasts: the simulation's, else by the frame rate that `env` states."""
    interval = getattr(env.unwrapped, "dt", None)
    return float(interval) if interval else 1 / float(env.metadata.get("render_fps") or 10)
