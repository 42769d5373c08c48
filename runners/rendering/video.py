"""A video of a run: the policy before adaptation and after it, side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from rlmaml import AdaptedPolicy
from rlmaml.errors import ConfigError
from runners import environments, formatting
from runners.errors import require_at_least
from runners.progress import progress
from runners.rendering import captions, video_file
from runners.rendering.adaptation import Adaptation, choose_tasks, steps_shown
from runners.run_dir import RunDir

READOUTS = {"x_velocity": ("velocity", " m/s", 0.2), "distance": ("distance", "", 0.0)}
"""What a caption shows of `info`: its name, unit, and over how many seconds it is averaged."""


@dataclass(frozen=True)
class Rendered:
    """A video that was written."""

    path: Path
    frames: int
    rate: float
    """Frames a second, when it is played."""
    seconds: float
    """That drawing and writing it took."""
    tasks: tuple[str, ...]
    returns: tuple[tuple[float, float], ...]
    """Before and after adaptation, for each task."""


def render(folder: RunDir, **options: Any) -> Path:
    """Write a video of a run, and say where. The arguments are those of `record`."""
    return record(folder, **options).path


def record(
    folder: RunDir,
    *,
    task: Any = None,
    steps: int | None = None,
    out: Path | None = None,
    size: int = 480,
    seed: int = 0,
    episodes: int = 20,
    deterministic: bool = False,
    pretty: bool = False,
    checkpoint: Path | None = None,
    quiet: bool = True,
) -> Rendered:
    """Write a video of a run: an episode before adaptation beside one after it.

    Both begin in the same state. It runs in real time; when one episode ends before the other, its
    last picture stays.

    Args:
        folder: the run.
        task: a point of the environment's `task_space`, or several, one after another: numbers in
            any arrangement. None: all of a small Discrete space, else a test task that `seed`
            draws.
        steps: inner steps of the adaptation; as in training, or 1 where that had none, if None.
        out: an .mp4 or .gif; `videos/task-TASK-steps-K.mp4` in the run folder if None, or .gif
            where imageio-ffmpeg is not installed.
        size: of each square picture, in pixels.
        seed: draws the task, the adaptation's episodes, the first state and the actions.
        episodes: for each inner step.
        deterministic: take the likeliest actions instead of drawing them.
        pretty: with shadows, reflections and smooth edges.
        checkpoint: which checkpoint: its folder, or `best`; the newest if None.
        quiet: show no progress.

    Raises:
        ConfigError: bad arguments, or there is nothing that can be drawn, or no place to write.
    """
    config = folder.read_config()
    steps = steps_shown(config, steps)
    require_at_least(0, steps=steps, seed=seed)
    require_at_least(1, episodes=episodes)
    require_at_least(32, size=size)
    tasks = choose_tasks(config, task, seed)
    if out is None:
        names = "_".join(f"{value:.4g}" for value in tasks.ravel().tolist())
        suffix = ".mp4" if video_file.can_mp4() else ".gif"
        out = folder.path / "videos" / f"task-{names[:100]}-steps-{steps}{suffix}"
    video_file.check_format(out)
    adaptation = Adaptation(folder, checkpoint, episodes, seed)
    drawing = {"render_mode": "rgb_array", "width": size, "height": size, "pretty": pretty}
    envs = [environments.make_single(config, **drawing) for _ in range(2)]
    interval = step_seconds(envs[0])
    every = video_file.every(interval, out.suffix)
    rate = 1 / (interval * every)
    labels, returns, frames, spent = [], [], 0, 0.0
    total = len(tasks) * (1 + -(-config.horizon // every))
    titles = ("before adaptation", f"after {formatting.steps(steps)}")
    try:
        with (
            progress(total, "rendering", "frame", quiet=quiet) as bar,
            video_file.writing(out, rate) as write,
        ):
            for chosen in tasks:
                label, panels = "", []
                for env, title, k in zip(envs, titles, (0, steps), strict=True):
                    environments.set_task(env, chosen)
                    label = environments.task_label(env, chosen)
                    world: Any = env.unwrapped
                    if hasattr(world, "background_paths"):  # there, observations are positions
                        world.background_paths = adaptation.paths(chosen, k)
                    policy = adaptation.policy(chosen, k)
                    panels.append(Panel(env, policy, title, label, size, seed, deterministic))
                began = time.perf_counter()
                for picture in _pictures(panels, every):
                    write(picture)
                    frames += 1
                    bar.update()
                spent += time.perf_counter() - began
                labels.append(label)
                returns.append((panels[0].total, panels[1].total))
    finally:
        for env in envs:
            env.close()
    return Rendered(out, frames, rate, spent, tuple(labels), tuple(returns))


def summary(result: Rendered) -> str:
    """What was written, as text."""
    lines = [
        f"{label}: return {before:.1f} before adaptation, {after:.1f} after"
        for label, (before, after) in zip(result.tasks, result.returns, strict=True)
    ]
    seconds = result.frames / result.rate
    drawn = result.frames / result.seconds
    lines.append(
        f"Written: {result.path} ({result.frames} frames, {seconds:.1f} s at {result.rate:.3g} "
        f"frames/s; {drawn:.1f} frames/s drawn)"
    )
    return "\n".join(lines)


def step_seconds(env: gymnasium.Env) -> float:
    """How long a step lasts: by the simulation's own time, else by the speed of its pictures."""
    interval = getattr(env.unwrapped, "dt", None)
    return float(interval) if interval else 1 / float(env.metadata.get("render_fps") or 10)


def _pictures(panels: list[Panel], every: int) -> Iterator[Image.Image]:
    """The panels side by side, of every so many steps one and the last, until both have ended."""
    while True:
        yield captions.side_by_side([panel.picture() for panel in panels])
        if all(panel.ended for panel in panels):
            return
        for _ in range(every):
            for panel in panels:
                panel.step()


class Panel:
    """An episode of one policy, and its picture with a caption."""

    def __init__(
        self,
        env: gymnasium.Env,
        policy: AdaptedPolicy,
        title: str,
        label: str,
        size: int,
        seed: int,
        deterministic: bool,
    ) -> None:
        self._env, self._policy, self._title, self._size = env, policy, title, size
        self._deterministic = deterministic
        self._observation, _ = env.reset(seed=seed)
        self._label = label
        self.total, self.ended = 0.0, False
        self._readout: tuple[str, str] | None = None
        self._recent: deque[float] = deque()
        self._last: Image.Image | None = None

    def step(self) -> None:
        """One step, until the episode ends."""
        if self.ended:
            return
        action = self._policy.act(self._observation, self._deterministic)
        if not np.isfinite(action).all():
            raise ConfigError(f"The policy {self._title} is not finite: the inner step diverged.")
        self._observation, reward, terminated, truncated, info = self._env.step(action)
        self.total += float(reward)
        self.ended = bool(terminated or truncated)
        for key, (name, unit, seconds) in READOUTS.items():
            if key in info:
                count = max(1, round(seconds / step_seconds(self._env)))
                self._recent = deque([*self._recent, float(info[key])], maxlen=count)
                self._readout = name, f"{np.mean(self._recent):.2f}{unit}"

    def picture(self) -> Image.Image:
        """The panel as it is now; once the episode has ended, always the same."""
        if self._last is None:
            shown = self._readout or ("", "")
            lines = (
                (self._title, self._label),
                (f"return {self.total:.1f}", f"{shown[0]} {shown[1]}".strip()),
            )
            panel = captions.captioned(environments.picture(self._env), self._size, lines)
            if not self.ended:
                return panel
            self._last = panel
        return self._last
