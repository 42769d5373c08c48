"""Frames of robots, looked at by their pixels: goals are in them, and drawing changes nothing."""

from __future__ import annotations

import gc

import gymnasium
import mujoco
import numpy as np
import pytest

from tests.helpers.frames import (
    SIZE,
    extent,
    head,
    pixels,
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

    @pytest.mark.parametrize("name", ["Hopper", "Walker2d"])
    def test_a_world_is_shown_by_an_arrow_forward(self, name):
        env = gymnasium.make(
            f"envs:rlmaml/{name}Params-v0", render_mode="rgb_array", width=SIZE, height=SIZE
        )
        env.reset(seed=0)
        assert head(env.render()) > 3
        env.close()

    @pytest.mark.parametrize("angle", np.pi * np.array([0.0, 0.25, 0.5, 1.0, 1.5]))
    def test_a_goal_on_the_edge_of_the_disk_is_in_the_frame(self, angle):
        env = robot("AntGoal", [3 * np.cos(angle), 3 * np.sin(angle)])
        columns = pixels(env.render(), "green")
        env.close()
        assert 5 < np.ptp(columns) < 25  # all of it, in one piece
        aside = np.sign(columns.mean() - SIZE / 2) * (abs(columns.mean() - SIZE / 2) > 8)
        assert aside == np.sign(np.round(np.cos(angle), 6))

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
