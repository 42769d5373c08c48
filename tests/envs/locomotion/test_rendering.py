"""Pictures, looked at by their pixels: goals are in them, and drawing changes nothing else."""

from __future__ import annotations

import copy
import gc
import math
import sys

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.locomotion.markers import LONGEST, SCALE, goal_markers
from envs.navigation import rendering
from tests.helpers.frames import (
    SIZE,
    WITHOUT,
    bluish,
    extent,
    head,
    headless_python,
    pixels,
    where,
)


def robot(name, task, **more):
    env = gymnasium.make(
        f"envs:rlmaml/{name}-v0", render_mode="rgb_array", width=SIZE, height=SIZE, **more
    )
    env.unwrapped.set_task(np.array(task))
    env.reset(seed=0)
    return env


@pytest.mark.usefixtures("opengl")
class TestRobots:
    @pytest.mark.parametrize("name", ["HalfCheetah", "Ant"])
    def test_the_goal_velocitys_arrow_is_as_long_as_the_goal_is_fast(self, name):
        lengths = []
        for goal in (0.5, 1.0, 2.0):
            env = robot(f"{name}Vel", [goal])
            frame = env.render()
            assert frame.shape == (SIZE, SIZE, 3)
            assert frame.std() > 20
            lengths.append(extent(frame, "green"))
            env.close()
        assert lengths[0] > 5
        np.testing.assert_allclose(np.array(lengths) / lengths[1], [0.5, 1.0, 2.0], rtol=0.2)

    @pytest.mark.parametrize("name", ["HalfCheetah", "Ant"])
    def test_a_direction_points_where_to_go(self, name):
        heads = []
        for task in (0, 1):
            env = robot(f"{name}Dir", task)
            heads.append(head(env.render()))
            assert not pixels(env.render(), "orange").size
            env.close()
        assert heads[0] > 3
        assert heads[1] < -3

    def test_a_goal_of_zero_is_a_ball(self):
        frame = robot("HalfCheetahVel", [0.0]).render()
        columns = pixels(frame, "green")
        assert 0 < np.ptp(columns) < 15
        assert abs(columns.mean() - SIZE / 2) < 3

    def test_the_orange_arrow_is_the_velocity(self):
        env = robot("HalfCheetahVel", [1.0])
        env.action_space.seed(0)
        seen = []
        for _ in range(15):
            velocity = env.step(env.action_space.sample())[4]["x_velocity"]
            seen.append((velocity, extent(env.render(), "orange")))
        velocities, lengths = np.array([s for s in seen if abs(s[0]) > 0.3]).T
        assert (velocities > 0).any()
        assert (velocities < 0).any()
        assert (np.sign(lengths) == np.sign(velocities)).all()
        assert np.corrcoef(velocities, lengths)[0, 1] > 0.98

    def test_the_camera_follows(self):
        env = robot("HalfCheetahDir", 0)
        first = env.render()
        env.unwrapped.data.qpos[0] += 7.0  # several pictures wide; whole tiles of the ground
        mujoco.mj_forward(env.unwrapped.model, env.unwrapped.data)
        assert extent(env.render(), "green") == pytest.approx(extent(first, "green"), abs=1)

    def test_several_at_once_and_after_others_were_closed(self):
        one, other = robot("HalfCheetahVel", [0.5]), robot("HalfCheetahVel", [2.0])
        short, long = one.render(), other.render()
        assert extent(short, "green") < extent(long, "green")
        np.testing.assert_array_equal(one.render(), short)
        other.close()
        np.testing.assert_array_equal(one.render(), short)
        other = robot("HalfCheetahVel", [2.0])
        np.testing.assert_array_equal(other.render(), long)
        del one  # without a close
        gc.collect()
        np.testing.assert_array_equal(other.render(), long)
        other.close()
        np.testing.assert_array_equal(other.render(), long)

    def test_pretty_has_shadows(self):
        plain, pretty = (robot("AntDir", 0, pretty=pretty).render() for pretty in (False, True))
        assert np.abs(plain.astype(int) - pretty).mean() > 1

    def test_ones_own_camera(self):
        ours = robot("HalfCheetahDir", 0).render()
        near = robot("HalfCheetahDir", 0, default_camera_config={"distance": 1.6}).render()
        assert np.ptp(pixels(near, "green")) > 1.6 * np.ptp(pixels(ours, "green"))
        models = robot("HalfCheetahDir", 0, camera_name="track").render()
        away = {"lookat": np.array([50.0, 0.0, 0.7])}
        nowhere = robot("HalfCheetahDir", 0, default_camera_config=away).render()
        assert pixels(models, "green").size
        assert not pixels(nowhere, "green").size

    def test_record_video_shows_the_goal(self):
        env = gymnasium.wrappers.RenderCollection(robot("HalfCheetahVel", [2.0]))
        env.reset(seed=0)
        for _ in range(2):
            env.step(env.action_space.sample())
        frames = env.render()
        assert all(extent(frame, "green") > 20 for frame in frames)
        assert not np.array_equal(frames[0], frames[-1])


def played(env, draw):
    env.unwrapped.set_task(env.unwrapped.sample_tasks(1, np.random.default_rng(0))[0])
    seen = [env.reset(seed=3)[0]]
    rng = np.random.default_rng(1)
    for _ in range(20):
        observation, reward, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        seen.append(np.append(observation, reward))
        if draw:
            env.render()
    env.close()
    return np.concatenate(seen)


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("name", ["HalfCheetahVel", "AntDir", "Navigation2D"])
def test_drawing_does_not_change_what_happens(name):
    env_id = f"envs:rlmaml/{name}-v0"
    plain = gymnasium.make(env_id)
    drawn = gymnasium.make(env_id, render_mode="rgb_array", width=32, height=32, pretty=True)
    np.testing.assert_array_equal(played(plain, False), played(drawn, True))


def test_markers():
    torso = np.array([3.0, 0.0, 0.6])
    assert goal_markers(None, 1.0, torso) == ()
    goal, velocity = goal_markers(1.5, -0.5, torso)
    assert goal["size"][2] == pytest.approx(2 * 1.5 * SCALE)
    assert velocity["size"][2] == pytest.approx(2 * 0.5 * SCALE)
    directions = [marker["mat"].reshape(3, 3)[:, 2] for marker in (goal, velocity)]
    np.testing.assert_array_equal(directions, [[1, 0, 0], [-1, 0, 0]])
    for marker in (goal, velocity):
        turn = marker["mat"].reshape(3, 3)
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
        assert marker["pos"][0] == 3.0
    goal, velocity = goal_markers(1.0, 20.0, torso)  # both to a scale at which both are in view
    assert velocity["size"][2] == pytest.approx(2 * LONGEST)
    assert goal["size"][2] == pytest.approx(2 * LONGEST / 20)
    (still, _) = goal_markers(0.0, 0.0, torso)
    assert still["type"] == mujoco.mjtGeom.mjGEOM_SPHERE
    (way,) = goal_markers(-math.inf, 1.0, torso)
    assert way["pos"][0] > 3.0
    np.testing.assert_array_equal(way["mat"].reshape(3, 3)[:, 2], [-1, 0, 0])


def navigation(goal, **more):
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0", render_mode="rgb_array", **more)
    env.unwrapped.set_task(np.array(goal))
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(("width", "height"), [(240, 240), (200, 120)])
@pytest.mark.parametrize("goal", [(0.4, 0.3), (-0.5, 0.1)])
def test_navigation_draws_goal_and_point_where_they_are(goal, width, height):
    env = navigation(goal, width=width, height=height)
    env.step(np.array([-0.1, -0.1]))
    position = env.step(np.array([0.05, -0.1]))[0]
    frame = env.render()
    assert frame.shape == (height, width, 3)
    np.testing.assert_allclose(where(frame, rendering.GOAL), goal, atol=0.012)
    np.testing.assert_allclose(where(frame, rendering.POINT), position, atol=0.02)
    scale = min(width, height) / 1.3
    x, y = int(width / 2 - 0.05 * scale), int(height / 2 + 0.05 * scale)  # half a step on its way
    near = frame[y - 1 : y + 2, x - 1 : x + 2].astype(int)
    assert (near[..., 0] - near[..., 2]).max() > 80  # orange


def test_navigations_path_is_that_of_the_episode():
    env = navigation((0.4, 0.3), width=120, height=120)
    first = env.render()
    env.step(np.array([0.1, 0.0]))
    assert not np.array_equal(env.render(), first)
    env.reset()
    np.testing.assert_array_equal(env.render(), first)


def test_navigation_shows_other_episodes_faintly():
    env = navigation((0.4, 0.3))
    env.unwrapped.background_paths = [np.array([[0.0, 0.0], [-0.4, -0.4]])]
    rows, columns = np.nonzero(bluish(env.render()))
    middle = np.array([columns.mean() - 240, 240 - rows.mean()]) * 0.65 / 240
    np.testing.assert_allclose(middle, [-0.2, -0.2], atol=0.03)
    env.unwrapped.background_paths = []
    assert not bluish(env.render()).any()


def test_a_point_that_left_the_picture_is_at_its_edge():
    env = navigation((0.4, 0.3))
    for _ in range(12):
        env.step(np.array([0.1, 0.0]))
    assert where(env.render(), rendering.POINT)[0] > 0.63


def test_navigation_draws_only_where_asked():
    assert gymnasium.make("envs:rlmaml/Navigation2D-v0").unwrapped.render() is None
    with pytest.raises(ValueError, match="'human'; navigation draws 'rgb_array'"):
        gymnasium.make("envs:rlmaml/Navigation2D-v0", render_mode="human")
    with pytest.raises(ValueError, match="0 x 480 pixels"):
        gymnasium.make("envs:rlmaml/Navigation2D-v0", render_mode="rgb_array", width=0)
    copied = copy.deepcopy(navigation((0.1, 0.2), width=40, height=40))
    copied.reset(seed=0)
    assert copied.render().shape == (40, 40, 3)


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
