"""OpenGL without a screen, and without OpenGL."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.frames import (
    WITHOUT,
    headless_python,
)

DRAWING = """
import gymnasium, os
env = gymnasium.make("envs:rlmaml/HalfCheetahVel-v0", render_mode="rgb_array")
env.reset(seed=0)
env.step(env.action_space.sample())
assert "MUJOCO_GL" not in os.environ
frame = env.render()
print(os.environ["MUJOCO_GL"], frame.std() > 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is chosen on Linux")
@pytest.mark.usefixtures("opengl")
def test_without_a_screen_egl_is_chosen_when_something_is_drawn():
    done = headless_python(DRAWING)
    assert done.stdout.split() == ["egl", "True"], done.stderr
    assert not done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is chosen on Linux")
def test_without_opengl_simulating_works_and_drawing_says_what_to_install():
    done = headless_python(WITHOUT + DRAWING)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "NoOpenGLError: Cannot draw with OpenGL by egl" in last
    assert "apt install libegl1 libgl1 libgl1-mesa-dri" in last
    assert "Exception ignored" not in done.stderr
