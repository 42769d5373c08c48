"""Frames of a point on a plane: where it is to go, where it has been, where it was before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PAPER, GRID = (255, 255, 255), (232, 232, 232)
GOAL = (26, 178, 64)
AREA, POSSIBLE = (222, 243, 228), (186, 220, 195)  # where a goal counts, where goals may be
START = (110, 110, 110)
PATH, POINT = (255, 128, 0), (214, 84, 0)
BACKGROUND = (190, 205, 228)
_SMOOTH = 2  # drawn as many times as large, and reduced: PIL's lines have hard edges


class PlaneView:
    """Draws the plane's square -extent..extent, in both coordinates.

    Args:
        width: of the frame, in pixels; the square is in its middle.
        height: of the frame, in pixels.
        extent: half the square's side, in the plane's unit.
        goal_radius: of a circle around the goal; None for none.
        lines: where goals may be, `[T, 2]` each.
    """

    def __init__(
        self,
        width: int,
        height: int,
        extent: float,
        goal_radius: float | None = None,
        lines: Sequence[NDArray[np.float64]] = (),
    ) -> None:
        self._size = (width * _SMOOTH, height * _SMOOTH)
        self._scale = min(self._size) / (2 * extent)
        self._extent, self._goal_radius, self._lines = extent, goal_radius, lines
        self._unit = min(self._size) / 240  # what widths are multiples of
        self._still: tuple[bytes, Sequence[NDArray[np.float64]], Image.Image] | None = None

    def draw(
        self,
        goal: NDArray[np.float64],
        path: NDArray[np.float64],
        background: Sequence[NDArray[np.float64]] = (),
    ) -> NDArray[np.uint8]:
        """A frame, `[height, width, 3]`.

        Args:
            goal: `[2]`.
            path: of this episode, from the start to where the point is, `[T, 2]`.
            background: faint paths of other episodes, `[T, 2]` each.
        """
        frame = self._unmoving(goal, background).copy()
        pen = ImageDraw.Draw(frame)
        self._line(pen, path, PATH, 1.4)
        # At the edge, a point that has left the frame is still seen to have left.
        self._disc(pen, np.clip(path[-1], -self._extent, self._extent), 4.0, POINT)
        return np.asarray(frame.reduce(_SMOOTH))

    def _unmoving(
        self, goal: NDArray[np.float64], background: Sequence[NDArray[np.float64]]
    ) -> Image.Image:
        """The part of all frames of an episode that is the same, drawn once."""
        key = goal.tobytes()
        if self._still is not None and self._still[0] == key and self._still[1] is background:
            return self._still[2]
        frame = Image.new("RGB", self._size, PAPER)
        pen = ImageDraw.Draw(frame)
        far = 9 * self._extent  # beyond the edges of any frame that is not square
        for at in np.linspace(-self._extent, self._extent, 9):
            self._line(pen, np.array([[at, -far], [at, far]]), GRID, 0.5)
            self._line(pen, np.array([[-far, at], [far, at]]), GRID, 0.5)
        if self._goal_radius is not None:
            self._disc(pen, goal, self._goal_radius * self._scale / self._unit, AREA, outline=GOAL)
        for possible in self._lines:
            self._line(pen, possible, POSSIBLE, 1.0)
        for other in background:
            self._line(pen, other, BACKGROUND, 0.6)
        self._disc(pen, np.zeros(2), 3.0, START)
        self._disc(pen, goal, 8.0, PAPER, outline=GOAL)
        self._disc(pen, goal, 4.0, GOAL)
        self._still = (key, background, frame)
        return frame

    def _pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of points, both `[..., 2]`; y goes up on the plane and down in frames."""
        center = np.array(self._size) / 2
        return center + np.asarray(points) * self._scale * [1.0, -1.0]

    def _line(
        self, pen: ImageDraw.ImageDraw, points: NDArray[np.float64], fill: tuple, width: float
    ) -> None:
        if len(points) > 1:
            corners = list(map(tuple, self._pixels(points).tolist()))
            pen.line(corners, fill=fill, width=max(1, round(width * self._unit)), joint="curve")

    def _disc(
        self,
        pen: ImageDraw.ImageDraw,
        center: NDArray[np.float64],
        radius: float,
        fill: tuple,
        outline: tuple | None = None,
    ) -> None:
        x, y = self._pixels(center).tolist()
        r = radius * self._unit
        width = max(1, round(1.5 * self._unit))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=outline, width=width)
