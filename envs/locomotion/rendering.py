"""gymnasium's MuJoCo viewers as used here: fast, several at a time, moving with the robot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import BaseRender, MujocoRenderer
from numpy.typing import NDArray

from . import opengl
from .markers import Marker


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Settings for drawing a robot."""

    render_mode: str | None = None
    """"human", "rgb_array", "depth_array" or "rgbd_tuple"; None draws nothing."""
    width: int = 480
    """Width of a frame, in pixels."""
    height: int = 480
    """Height of a frame, in pixels."""
    camera_id: int | None = None
    """A camera of the model to look through."""
    camera_name: str | None = None
    """The same by its name."""
    default_camera_config: Mapping[str, float | int | NDArray[np.float64]] | None = None
    """Attributes of the free camera, in place of the robot's own one by one."""
    max_geom: int = 1000
    """Geometries that a frame may have."""
    visual_options: dict[int, bool] | None = None
    """Flags of `mujoco.MjvOption`."""
    pretty: bool = False
    """Draw shadows, reflections and smooth edges, which are slow without a GPU."""

    @property
    def fixed(self) -> bool:
        """True if the camera stays: one of the model, or a fixed point to look at."""
        looks_at = "lookat" in (self.default_camera_config or {})
        return looks_at or self.camera_id is not None or self.camera_name is not None

    def renderer(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: Mapping[str, float]
    ) -> MujocoRenderer:
        """gymnasium's renderer of a simulation, with a buffer in `model` that is large enough.

        Args:
            model: MuJoCo's.
            data: the simulation.
            camera: the robot's own.
        """
        buffer = model.vis.global_
        buffer.offwidth = max(buffer.offwidth, self.width)
        buffer.offheight = max(buffer.offheight, self.height)
        if not self.pretty:
            model.vis.quality.offsamples = 0
        return MujocoRenderer(
            model,
            data,
            {**camera, **(self.default_camera_config or {})},
            self.width,
            self.height,
            self.max_geom,
            self.camera_id,
            self.camera_name,
            self.visual_options or {},
        )


def viewer_for(renderer: MujocoRenderer, mode: str, *, pretty: bool) -> BaseRender:
    """The viewer of a render mode, made if need be, and ready to draw.

    Args:
        renderer: of the environment.
        mode: "human", "rgb_array", "depth_array" or "rgbd_tuple".
        pretty: with shadows, reflections and smooth edges, which cost several times as much
            without a GPU.

    Raises:
        NoOpenGLError: OpenGL is not available.
    """
    viewer = renderer._viewers.get(mode)
    if viewer is None:
        viewer = _make(renderer, mode)
        if not pretty:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                viewer.scn.flags[flag] = False
    # gymnasium leaves current what was made last, which may be another environment's.
    viewer.make_context_current()
    return viewer


def _make(renderer: MujocoRenderer, mode: str) -> BaseRender:
    if mode != "human":
        opengl.choose_opengl()
        opengl.check_opengl()
    try:
        return renderer._get_viewer(mode)
    except (ImportError, OSError, RuntimeError, mujoco.FatalError) as problem:
        raise opengl.no_opengl(problem) from problem


def add(viewer: BaseRender, markers: Iterable[Marker]) -> None:
    """Show these, and no others, in the next frame."""
    viewer._markers.clear()  # a window keeps them
    for marker in markers:
        viewer.add_marker(**marker)


def free(viewers: dict[str, BaseRender]) -> None:
    """Close viewers, each with its own context current.

    What a viewer has in OpenGL is freed in the context that happens to be current, and would be
    another one's of the same number.
    """
    while viewers:
        _, viewer = viewers.popitem()
        viewer.make_context_current()
        viewer.con.free()
        viewer.close()


class Follower:
    """Moves a free camera along with the robot, as gymnasium's own does only for a fixed one.

    Args:
        height: what the camera looks at, in meters above the ground.
    """

    def __init__(self, height: float) -> None:
        self._height = height
        self._last: dict[str, NDArray[np.float64]] = {}

    def start_anew(self) -> None:
        """The viewers that there were are gone."""
        self._last.clear()

    def follow(self, mode: str, viewer: BaseRender, torso: NDArray[np.float64]) -> None:
        """Move by as much as the torso, `[3]`, did since the last frame of this mode.

        So a window's camera stays where the mouse has put it.
        """
        if mode in self._last:
            viewer.cam.lookat[:2] += torso[:2] - self._last[mode][:2]
        else:
            viewer.cam.lookat[:] = [*torso[:2], self._height]
        self._last[mode] = torso.copy()
