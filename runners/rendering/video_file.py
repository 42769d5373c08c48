"""Videos as files: MP4 and GIF, by imageio."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio.v2
import imageio.v3
import numpy as np
from PIL import Image

from rlmaml.errors import ConfigError

MAX_RATE = {".mp4": 30.0, ".gif": 15.0}
"""Frames per second of either format, at most."""
GIF_WIDTH = 480
"""About the largest width of a GIF in pixels: it compresses badly, so pictures are reduced."""
GIF_BITS = 7
"""2^7 colors, and no dithering: its dots differ from picture to picture and do not compress."""

Write = Callable[[Image.Image], None]


def can_mp4() -> bool:
    """True if imageio-ffmpeg is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def check_format(out: Path) -> None:
    """Check that a video can be written to a path.

    Raises:
        ConfigError: another format than MP4 and GIF, an MP4 without imageio-ffmpeg, or a folder.
    """
    if out.suffix not in MAX_RATE:
        raise ConfigError(f"--out must end in .mp4 or .gif, got {out}.")
    if out.suffix == ".mp4" and not can_mp4():
        raise ConfigError(
            "An MP4 needs imageio-ffmpeg: pip install 'rlmaml[video]', or pass --out "
            f"{out.with_suffix('.gif')} for a GIF."
        )
    if out.is_dir():
        raise ConfigError(f"--out names a file, but {out} is a folder.")


def steps_per_frame(interval: float, suffix: str) -> int:
    """Environment steps between two frames of a video in real time.

    Args:
        interval: seconds that a step lasts.
        suffix: the format, `.mp4` or `.gif`.
    """
    return max(1, math.ceil(1 / (interval * MAX_RATE[suffix]) - 1e-9))


@contextlib.contextmanager
def writing(path: Path, rate: float) -> Iterator[Write]:
    """Open a video for writing; the file appears when it is complete, and not before.

    Args:
        path: ends in .mp4 or .gif.
        rate: frames per second.

    Yields:
        A function that adds a picture. All pictures of a video have one size.

    Raises:
        ConfigError: a path that cannot be written.
    """
    staging = path.with_name(f".{path.name}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.touch()  # ffmpeg's own message about a bad path is long
        with (_mp4 if path.suffix == ".mp4" else _gif)(staging, rate) as write:
            yield write
        staging.replace(path)
    except OSError as problem:
        reason = problem.strerror or " ".join(str(problem).split())
        raise ConfigError(f"Cannot write {path}: {reason}.") from problem
    finally:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)


@contextlib.contextmanager
def _mp4(path: Path, rate: float) -> Iterator[Write]:
    writer = imageio.v2.get_writer(
        path,
        format="FFMPEG",  # pyright: ignore[reportArgumentType]  it takes a name
        fps=rate,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-crf", "20", "-movflags", "+faststart"],
    )
    append = writer.append_data  # pyright: ignore[reportAttributeAccessIssue]
    with contextlib.closing(writer):  # itself a context that does not close after an error
        yield lambda picture: append(np.asarray(picture))


@contextlib.contextmanager
def _gif(path: Path, rate: float) -> Iterator[Write]:
    settings = {"bits": GIF_BITS, "duration": 10 * round(100 / rate), "loop": 0}  # in milliseconds

    def write(picture: Image.Image) -> None:
        picture = picture.reduce(max(1, round(picture.width / GIF_WIDTH)))
        file.write(np.asarray(picture), **settings)

    with imageio.v3.imopen(path, "w", plugin="pillow") as file:
        yield write
