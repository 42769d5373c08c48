"""OpenGL where there is no screen: chosen when something is first drawn, and never before."""

from __future__ import annotations

import functools
import importlib
import os
import sys

_PACKAGES = "on Debian and Ubuntu: apt install libegl1 libgl1 libgl1-mesa-dri"


class NoOpenGLError(RuntimeError):
    """OpenGL that does not work on this machine; the message says what is missing."""


def choose_opengl() -> None:
    """Draw by EGL, which needs no screen, where there is none and nothing else was chosen.

    gymnasium and MuJoCo read the environment variable MUJOCO_GL, and try for a window without it.
    """
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not has_screen and not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = "egl"


@functools.cache
def check_opengl() -> None:
    """Try to make an OpenGL context, by the library that MUJOCO_GL names.

    Raises:
        NoOpenGLError: OpenGL is not available.
    """
    backend = os.environ.get("MUJOCO_GL", "")
    if backend not in ("egl", "osmesa"):  # a window says more itself
        return
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(64, 64)
        context.make_current()
        context.free()
    except Exception as problem:  # PyOpenGL raises whatever a missing library makes of it
        raise no_opengl(problem) from problem


def no_opengl(problem: Exception) -> NoOpenGLError:
    """The error to raise for what OpenGL raised."""
    backend = os.environ.get("MUJOCO_GL") or "a window"
    message = " ".join(str(problem).split())
    return NoOpenGLError(
        f"Cannot draw with OpenGL by {backend} ({type(problem).__name__}: {message}). Install its "
        f"libraries ({_PACKAGES}), or choose another way with MUJOCO_GL=egl, osmesa or glfw."
    )
