"""Look of plots, and their destinations."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runners.formatting import printable
from runners.io import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Target = Path | Callable[["Figure"], object]
"""Destination of a plot: a file to write, or what takes the finished figure."""

BEFORE, AFTER = "#b0602c", "#1f6f8b"  # tell apart in grey and by the color-blind
METHODS = (AFTER, BEFORE, "#7a6a9a", "#4d7d3f", "#8c8c8c", "#14364a")
"""Colors of methods in one plot."""


def blank() -> tuple[Figure, Axes]:
    """A figure with one empty plot."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(6.4, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _plain(figure: Figure) -> None:
    """Have all letters drawn as they are: names may hold dollars, or what no font draws.

    Numbers along an axis of powers are left to matplotlib's formulas.
    """
    from matplotlib.text import Text

    powers: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() != "linear":
                powers |= set(axis.findobj(Text)) - {axis.label}
    for text in set(figure.findobj(Text)) - powers:
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))


def save(figure: Figure, path: Target) -> None:
    """Write a figure, or hand it over.

    Raises:
        ConfigError: a file that cannot be written.
    """
    _plain(figure)
    if not isinstance(path, Path):
        path(figure)
        return
    write_bytes(path, _drawn(figure, path.suffix[1:]))


def _drawn(figure: Figure, format: str) -> bytes:
    """The content of a picture's file."""
    content = io.BytesIO()
    figure.savefig(content, format=format)
    return content.getvalue()
