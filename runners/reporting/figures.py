"""Figures and videos inside a page: as data, with a light and a dark variant."""

from __future__ import annotations

import base64
import colorsys
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from runners.formatting import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import ColorType

LARGEST_SVG = 120_000
"""Bytes beyond which a figure is kept as PNG."""

VIDEO_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
VIDEO_LIMIT = 8_000_000
"""Bytes of videos that a page takes in."""


NARROW = 4.4
"""Inches: a figure of that width has legible letters on a phone."""


@dataclass(frozen=True)
class Variant:
    """A data URL of a figure."""

    url: str
    width: int  # CSS pixels, as is `height`
    height: int


@dataclass(frozen=True)
class EmbeddedFigure:
    """One figure for light and dark pages, wide and narrow, and what it shows."""

    light: Variant
    dark: Variant
    light_narrow: Variant
    dark_narrow: Variant
    alt: str
    caption: str


@dataclass(frozen=True)
class Video:
    """A data URL of a video, or of an animation that is to be shown as an image."""

    source: str
    kind: str  # MIME type
    alt: str
    caption: str

    @property
    def animation(self) -> bool:
        return self.kind.startswith("image/")


def embed(
    draw: Callable[[Callable[[Figure], object]], None], *, alt: str, caption: str
) -> EmbeddedFigure:
    """Draw a figure with a function of one of the modules `plots`, and keep it.

    Args:
        draw: takes where the finished figure goes.
        alt: what the figure shows, for those who do not see it.
        caption: what it is.
    """
    import matplotlib

    drawn: list[Figure] = []
    # Letters are drawn as letters: as outlines they are most of the file.
    style = {
        "font.size": 11,
        "font.family": ["DejaVu Sans", "sans-serif"],
        "svg.fonttype": "none",
        "svg.hashsalt": "rlmaml",  # the same page from the same run
    }
    with matplotlib.rc_context(style):  # pyright: ignore[reportArgumentType]
        draw(drawn.append)
        (figure,) = drawn
        width, height = figure.get_size_inches()
        sizes = (width, height), (NARROW, 1.2 * NARROW * height / width)
        light = [_variant(figure, *size) for size in sizes]
        darken(figure)
        dark = [_variant(figure, *size) for size in sizes]
    return EmbeddedFigure(light[0], dark[0], light[1], dark[1], alt=alt, caption=caption)


def _variant(figure: Figure, width: float, height: float) -> Variant:
    """The figure at a size in inches."""
    figure.set_size_inches(width, height)
    return Variant(_data_url(figure), round(96 * width), round(96 * height))


def _data_url(figure: Figure) -> str:
    """The figure on a transparent ground: as SVG, or as PNG where that would be large."""
    file = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    if file.tell() <= LARGEST_SVG:
        return encoded("image/svg+xml", file.getvalue())
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True, dpi=200, metadata={"Software": None})
    return encoded("image/png", file.getvalue())


def encoded(kind: str, content: bytes) -> str:
    """A data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def darken(figure: Figure) -> None:
    """Turn a matplotlib Figure that was drawn for a light ground into one for a dark ground."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    grounds = [figure.patch, *(axes.patch for axes in figure.axes)]
    for artist in figure.findobj():
        if isinstance(artist, Line2D):
            # A marker without colors of its own goes with the line.
            artist.set_color(for_dark(artist.get_color()))
        elif isinstance(artist, Text):
            artist.set_color(for_dark(artist.get_color()))
        elif isinstance(artist, Collection):
            for get, put in (
                (artist.get_facecolor, artist.set_facecolor),
                (artist.get_edgecolor, artist.set_edgecolor),
            ):
                put([for_dark(color) for color in get()])
        elif isinstance(artist, Patch) and artist not in grounds:
            artist.set_edgecolor(for_dark(artist.get_edgecolor()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_tick_params(
                which="both", color=for_dark("black"), labelcolor=for_dark("black")
            )


def for_dark(color: object) -> tuple[float, float, float, float]:
    """Return the color of the same hue that takes its place on a dark ground, as RGBA.

    The darker, the lighter it becomes; none is left darker than a middle grey.
    """
    from matplotlib.colors import to_rgba

    *rgb, alpha = to_rgba(cast("ColorType", color))
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb)
    red, green, blue = colorsys.hls_to_rgb(hue, 0.44 + 0.52 * (1 - lightness) ** 2, saturation)
    return red, green, blue, alpha


@dataclass(frozen=True)
class Videos:
    """Videos that a page shows, and how many were too large."""

    shown: list[Video]
    left_out: int


def videos(
    folders: Sequence[Path], since: Sequence[float] = (), limit: int = VIDEO_LIMIT
) -> Videos:
    """Read the videos in folders, the newest of each first, as many as fit.

    Args:
        folders: where to look.
        since: for each folder, before which time (seconds) files are too old to be shown.
        limit: bytes of them all.
    """
    shown: list[Video] = []
    left_out = 0
    for folder, oldest in zip(folders, since or [0.0] * len(folders), strict=True):
        files = [
            file
            for file in folder.glob("*")
            if file.suffix.lower() in VIDEO_TYPES and file.stat().st_mtime >= oldest
        ]
        files.sort(key=lambda file: (-file.stat().st_mtime, file.name))
        for file in files:
            size = file.stat().st_size
            if not 0 < size <= limit:
                left_out += 1
                continue
            limit -= size
            kind = VIDEO_TYPES[file.suffix.lower()]
            name = video_name(file.stem)
            shown.append(Video(encoded(kind, file.read_bytes()), kind, f"Video: {name}", name))
    return Videos(shown, left_out)


def video_name(stem: str) -> str:
    """Say what a video is of, by the name that `rlmaml render` gave its file: task-TASK-steps-K."""
    named = re.fullmatch(r"task-(.*)-steps-(\d+)", stem)
    if named:
        task, count = named[1].replace("_", ", ").replace("-", "−"), int(named[2])
        return f"task {task}, before adaptation (left) and after {steps(count)} (right)"
    return stem.replace("_", " ").replace("-", " ")
