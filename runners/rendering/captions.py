"""A picture with a caption above it, and pictures side by side."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, PAPER = (30, 30, 30), (255, 255, 255)
Line = tuple[str, str]
"""Text at the left and at the right."""


def with_caption(frame: NDArray[np.uint8], size: int, lines: tuple[Line, Line]) -> Image.Image:
    """A picture `[height, width, 3]`, fitted into a square of `size` pixels, under two lines.

    A text at the right of the first line that would take more than its half is a line of its own,
    all in smaller type: the caption's height is the same for every text.
    """
    strip = caption_height(size)
    panel = Image.new("RGB", (size, size + strip), PAPER)
    picture = Image.fromarray(np.ascontiguousarray(frame))
    if picture.size != (size, size):
        scale = size / max(picture.size)
        picture = picture.resize([max(1, round(scale * side)) for side in picture.size])
    panel.paste(picture, ((size - picture.width) // 2, strip + (size - picture.height) // 2))
    pen = ImageDraw.Draw(panel)
    margin, letters = max(2, size // 40), max(7, round(size / 23))
    (title, label), last = lines
    if pen.textlength(label, _font(letters)) <= size / 2:
        placed = zip(lines, (0.29, 0.72), strict=True)
    else:
        letters = max(7, round(letters * 0.75))
        placed = zip(((title, ""), (label, ""), last), (0.2, 0.51, 0.82), strict=True)
    for (left, right), middle in placed:
        y = round(middle * strip)
        # Wide texts shrink further, to be seen to their end.
        wide = pen.textlength(left, _font(letters)) / (size - 2 * margin)
        font = _font(max(5, int(letters / max(1.0, wide))))
        pen.text((margin, y), left, INK, font, anchor="lm")
        pen.text((size - margin, y), right, INK, font, anchor="rm")
    return panel


def side_by_side(panels: list[Image.Image]) -> Image.Image:
    """Panels of one size in a row; width and height are even, as H.264 needs them."""
    gap = max(2, panels[0].width // 60)
    width, height = (len(panels) * (panels[0].width + gap) - gap, panels[0].height)
    row = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    for i, panel in enumerate(panels):
        row.paste(panel, (i * (panel.width + gap), 0))
    return row


def caption_height(size: int) -> int:
    """Height in pixels of the caption above a picture of `size` pixels."""
    return 2 * max(9, round(size * 0.06))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
