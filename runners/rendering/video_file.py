"""Pictures into files: MP4 by imageio-ffmpeg, GIF by Pillow."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from rlmaml.errors import ConfigError

MOST_FRAMES = {".mp4": 30.0, ".gif": 15.0}
"""Frames a second of either format, at most."""
GIF_WIDTH = 480
"""Pixels, about, at most: a GIF compresses badly, so larger pictures are reduced."""

Write = Callable[[Image.Image], None]


def can_mp4() -> bool:
    """Whether imageio-ffmpeg is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def check_format(out: Path) -> None:
    """Whether a video can be written there.

    Raises:
        ConfigError: it cannot, and why.
    """
    if out.suffix not in MOST_FRAMES:
        raise ConfigError(f"--out must end in .mp4 or .gif, got {out}.")
    if out.suffix == ".mp4" and not can_mp4():
        raise ConfigError(
            "An MP4 needs imageio-ffmpeg: pip install 'rlmaml[video]', or pass --out "
            f"{out.with_suffix('.gif')} for a GIF."
        )
    if out.is_dir():
        raise ConfigError(f"--out names a file, but {out} is a folder.")


def every(interval: float, suffix: str) -> int:
    """Of how many steps one is shown, so that the video runs in real time.

    Args:
        interval: seconds that a step lasts.
        suffix: the format.
    """
    return max(1, math.ceil(1 / (interval * MOST_FRAMES[suffix]) - 1e-9))


@contextlib.contextmanager
def writing(path: Path, rate: float) -> Iterator[Write]:
    """A function that adds a picture; the file is there when all are, and not before.

    Args:
        path: ends in .mp4 or .gif.
        rate: frames a second.

    Raises:
        ConfigError: the file cannot be written.
    """
    staging = path.with_name(f".{path.name}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.touch()  # what ffmpeg says when it cannot is long
        with (_mp4 if path.suffix == ".mp4" else _gif)(staging, rate) as write:
            yield write
        staging.replace(path)
    except OSError as problem:
        said = problem.strerror or " ".join(str(problem).split())
        raise ConfigError(f"Cannot write {path}: {said}.") from problem
    finally:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)


@contextlib.contextmanager
def _mp4(path: Path, rate: float) -> Iterator[Write]:
    import imageio_ffmpeg

    encoder = None

    def write(picture: Image.Image) -> None:
        nonlocal encoder
        if encoder is None:
            encoder = imageio_ffmpeg.write_frames(
                str(path),
                picture.size,
                fps=rate,  # pyright: ignore[reportArgumentType]  need not be whole
                codec="libx264",
                pix_fmt_out="yuv420p",
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-crf", "20", "-movflags", "+faststart"],
            )
            encoder.send(None)
        encoder.send(np.ascontiguousarray(picture))

    try:
        yield write
    finally:
        if encoder is not None:
            encoder.close()


@contextlib.contextmanager
def _gif(path: Path, rate: float) -> Iterator[Write]:
    pictures: list[Image.Image] = []

    def write(picture: Image.Image) -> None:
        picture = picture.reduce(max(1, round(picture.width / GIF_WIDTH)))
        # Without dithering, whose dots differ from picture to picture and do not compress.
        pictures.append(picture.quantize(128, dither=Image.Dither.NONE))

    yield write
    if pictures:
        pictures[0].save(
            path,
            save_all=True,
            append_images=pictures[1:],
            duration=10 * round(100 / rate),  # a GIF counts hundredths of a second
            loop=0,
        )
