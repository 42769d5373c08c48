"""The window: what it plays, and where it cannot be opened."""

import contextlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from rlmaml.errors import ConfigError
from runners.command_line import cli
from runners.rendering import viewer
from runners.rendering.video import render


def test_the_viewer_needs_a_screen(runs, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["render", str(runs["vel"].path), "--viewer"])
    assert "needs a screen" in capsys.readouterr().err


class Window(contextlib.AbstractContextManager):
    """MuJoCo's window, closed by the user after some frames."""

    def __init__(self, scene, frames):
        self.cam, self.user_scn, self.frames = SimpleNamespace(), scene, frames
        self.shapes = []

    def __exit__(self, *error):
        self.frames = 0

    def lock(self):
        return contextlib.nullcontext()

    def is_running(self):
        return self.frames > 0

    def sync(self):
        self.frames -= 1
        self.shapes.append(self.user_scn.ngeom)


@pytest.fixture
def window(monkeypatch):
    """Stands for the window that is opened."""
    mujoco, glfw = pytest.importorskip("mujoco"), pytest.importorskip("glfw")
    viewer_module = pytest.importorskip("mujoco.viewer")
    opened = Window(mujoco.MjvScene(mujoco.MjModel.from_xml_string("<mujoco/>"), 100), 30)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(glfw, "init", lambda: True)
    monkeypatch.setattr(viewer_module, "launch_passive", lambda *model, **ui: opened)
    monkeypatch.setattr(viewer, "PAUSE", 0.0)
    return opened


def test_tasks_are_played_in_turn_until_the_window_is_closed(runs, window):
    result = render(runs["dir"].path, viewer=True, episodes=1)
    assert str(result) == "Shown: 30 steps."  # an episode of 22, and the beginning of another
    assert len(window.shapes) == 30
    assert min(window.shapes) > 0  # the goal is marked
    assert {"type", "trackbodyid", "distance"} <= vars(window.cam).keys()


def test_what_the_window_cannot_show(runs, window, made, monkeypatch):
    with pytest.raises(ConfigError, match="shows our robots, not"):
        render(runs["nav"].path, viewer=True, episodes=1)
    with pytest.raises(ConfigError, match="leave out --out"):
        render(runs["dir"].path, viewer=True, out=runs["dir"].path / "x.gif")
    monkeypatch.setattr("glfw.init", lambda: False)
    with pytest.raises(ConfigError, match="cannot open a window"):
        render(runs["dir"].path, viewer=True, episodes=1, task=np.zeros(1))
    assert len(made) == 3
    assert all(env.closed for env in made)
