"""Arrows and points found in a frame by their color, and Python without a screen."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

SIZE = 160


def pixels(frame, color):
    """Columns of the pixels whose color is saturated, and green or orange."""
    red, green, blue = np.moveaxis(frame.astype(int), 2, 0)
    if color == "green":
        matching = (green > 1.5 * red) & (green > 1.5 * blue)
    else:
        matching = (red > 1.3 * green) & (green > 2.5 * blue)
    return np.nonzero(matching & (np.maximum(red, green) > 60))[1]


def extent(frame, color):
    """From the middle of the frame to the farther end of an arrow, in pixels, signed."""
    columns = pixels(frame, color) - frame.shape[1] // 2
    assert len(columns), f"nothing {color}"
    return max(columns, key=abs)


def head(frame):
    """From the middle of the green arrow to its head, which is thicker, in pixels, signed."""
    columns = pixels(frame, "green")
    counts = np.bincount(columns)
    thick = np.flatnonzero(counts > 0.85 * counts.max())
    return thick.mean() - (columns.min() + columns.max()) / 2


def where(frame, color):
    """Middle of the pixels of a color on the plane, whose square is ±0.65 in a frame."""
    rows, columns = np.nonzero((np.abs(frame.astype(int) - color) < 12).all(2))
    height, width, _ = frame.shape
    half = min(height, width) / 2
    middle = np.array([columns.mean() + 0.5 - width / 2, height / 2 - rows.mean() - 0.5])
    return 0.65 * middle / half


def bluish(frame):
    """Mask of the faint paths, `[height, width]`."""
    red, green, blue = np.moveaxis(frame.astype(int), 2, 0)
    return (blue - red > 8) & (blue > green)


WITHOUT = """
import ctypes
real = ctypes.CDLL.__init__
def missing(self, name, *more, **others):
    if name and any(part in str(name) for part in ("EGL", "libGL", "libOpenGL", "OSMesa")):
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")
    real(self, name, *more, **others)
ctypes.CDLL.__init__ = missing
"""


def headless_environment():
    """This process's environment, without a screen and without a choice of OpenGL."""
    names = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")
    return {name: value for name, value in os.environ.items() if name not in names}


def headless_python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=headless_environment(), capture_output=True, text=True)
