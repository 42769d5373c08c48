"""`rlmaml render`: a video of the policy before adaptation and after it, side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from rlmaml.errors import ConfigError
from runners import environments, formatting
from runners.command_line.progress import progress
from runners.errors import require_at_least
from runners.opening import opened
from runners.rendering import captions, video_file
from runners.rendering.adaptation import Adaptation, choose_tasks, steps_shown
from runners.rendering.panel import Panel, step_seconds
from runners.rendering.viewer import Watched, check_screen, watch
from runners.run_dir import RunDir


@dataclass(frozen=True)
class Rendered:
    """A video that was written."""

    path: Path
    frames: int
    rate: float
    """Frames per second of playback."""
    seconds: float
    """Time that drawing and writing took."""
    tasks: tuple[str, ...]
    returns: tuple[tuple[float, float], ...]
    """Before and after adaptation, for each task."""

    def __str__(self) -> str:
        lines = [
            f"{label}: return {before:.1f} before adaptation, {after:.1f} after"
            for label, (before, after) in zip(self.tasks, self.returns, strict=True)
        ]
        lines.append(
            f"Written: {self.path} ({self.frames} frames, {self.frames / self.rate:.1f} s at "
            f"{self.rate:.3g} frames/s; {self.frames / self.seconds:.1f} frames/s drawn)"
        )
        return "\n".join(lines)


def render(
    run: tyro.conf.Positional[Path],
    *,
    task: tuple[float, ...] = (),
    steps: int | None = None,
    out: Path | None = None,
    size: int = 480,
    seed: int = 0,
    episodes: int = 20,
    deterministic: bool = False,
    pretty: bool = False,
    checkpoint: Path | None = None,
    viewer: bool = False,
    quiet: bool = False,
) -> Rendered | Watched:
    """Make a video of a task before adaptation and after it, side by side.

    Both episodes begin in the same state. The video runs in real time. When one episode ends before
    the other, its last picture stays.

    Args:
        run: Run folder, or what else a run is named by (NAME, hf://USER/NAME).
        task: The task, as its numbers: a goal velocity, 0 or 1 for forward or backward, two for a
            direction or a place on the plane, factors of a world; several tasks are shown one after
            another. If not given, both directions, else a held-out task drawn by the seed.
        steps: Inner steps of the adaptation; if not given, as in training, but at least 1.
        out: An .mp4 or .gif; DIR/videos/task-TASK-steps-K.mp4 if not given, or .gif where
            imageio-ffmpeg is not installed.
        size: Width and height of either picture, in pixels; in a GIF they are about 240.
        seed: Draws the task, the episodes adapted to, the first state and the actions.
        episodes: Episodes for each inner step.
        deterministic: Take the likeliest actions instead of drawing them.
        pretty: Draw shadows, reflections and smooth edges, which is slow without a GPU.
        checkpoint: Checkpoint folder, or `best`; the run's newest if not given.
        viewer: Watch the adapted policy in MuJoCo's own window instead; needs a screen, writes
            nothing.
        quiet: Show no progress.

    Returns:
        What was written, or with `viewer` what was shown.

    Raises:
        ConfigError: bad arguments, an environment that cannot be drawn, or a path that cannot be
            written.
    """
    folder = opened(run)
    config = folder.read_config()
    steps = steps_shown(config, steps)
    require_at_least(0, steps=steps, seed=seed)
    require_at_least(1, episodes=episodes)
    require_at_least(32, size=size)
    if viewer:
        if out is not None:
            raise ConfigError("--viewer writes nothing: leave out --out.")
        check_screen()
    tasks = choose_tasks(config, task, seed)
    if viewer:
        adaptation = Adaptation(folder, checkpoint, episodes, seed)
        return watch(adaptation, tasks, steps, seed, deterministic)
    path = out or _default_path(folder, tasks, steps)
    video_file.check_format(path)
    adaptation = Adaptation(folder, checkpoint, episodes, seed)
    drawing = {"render_mode": "rgb_array", "width": size, "height": size, "pretty": pretty}
    with (
        contextlib.closing(environments.make_single(config, **drawing)) as before,
        contextlib.closing(environments.make_single(config, **drawing)) as after,
    ):
        episodes_of = _Episodes(adaptation, (before, after), steps, size, seed, deterministic)
        return _write(episodes_of, tasks, path, quiet)


@dataclass(frozen=True)
class _Episodes:
    """Begins the two episodes of a task."""

    adaptation: Adaptation
    envs: tuple[gymnasium.Env, gymnasium.Env]
    steps: int
    size: int
    seed: int
    deterministic: bool

    def panels(self, task: Any) -> tuple[str, list[Panel]]:
        """The task's label, and its episodes before and after adaptation in their first state."""
        label, panels = "", []
        titles = ("before adaptation", f"after {formatting.steps(self.steps)}")
        for env, title, k in zip(self.envs, titles, (0, self.steps), strict=True):
            environments.set_task(env, task)
            label = environments.task_label(env, task)
            if isinstance(env.unwrapped, _DrawsPaths):
                env.unwrapped.background_paths = self.adaptation.paths(task, k)
            policy = self.adaptation.policy(task, k)
            panels.append(Panel(env, policy, title, label, self.size, self.deterministic))
            panels[-1].reset(self.seed)
        return label, panels


@runtime_checkable
class _DrawsPaths(Protocol):
    """An environment whose observations are positions, and which draws paths of them."""

    background_paths: list[NDArray[np.float64]]


def _write(episodes: _Episodes, tasks: np.ndarray, path: Path, quiet: bool) -> Rendered:
    """Write the video: the episodes of each task, one task after another."""
    interval = step_seconds(episodes.envs[0])
    stride = video_file.steps_per_frame(interval, path.suffix)
    rate = 1 / (interval * stride)
    longest = 1 + -(-episodes.adaptation.config.horizon // stride)  # of an episode, in frames
    labels: list[str] = []
    returns: list[tuple[float, float]] = []
    frames, seconds = 0, 0.0
    with (
        progress(len(tasks) * longest, "rendering", "frame", quiet=quiet) as bar,
        video_file.writing(path, rate) as write,
    ):
        for task in tasks:
            label, panels = episodes.panels(task)
            began = time.perf_counter()
            for picture in _pictures(panels, stride):
                write(picture)
                frames += 1
                bar.update()
            seconds += time.perf_counter() - began
            labels.append(label)
            returns.append((panels[0].total, panels[1].total))
    return Rendered(path, frames, rate, seconds, tuple(labels), tuple(returns))


def _pictures(panels: list[Panel], stride: int) -> Iterator[Image.Image]:
    """The panels side by side, every `stride` steps, until all episodes have ended."""
    while True:
        yield captions.side_by_side([panel.picture() for panel in panels])
        if all(panel.ended for panel in panels):
            return
        for _ in range(stride):
            for panel in panels:
                panel.step()


def _default_path(folder: RunDir, tasks: np.ndarray, steps: int) -> Path:
    name = environments.task_name(tasks)
    suffix = ".mp4" if video_file.can_mp4() else ".gif"
    return folder.path / "videos" / f"task-{name}-steps-{steps}{suffix}"
