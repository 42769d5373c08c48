"""The table of environments, and how keyword arguments find what takes them."""

from __future__ import annotations

import inspect
import pickle

import gymnasium
import numpy as np
import pytest

from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.tasks import GoalVelocity
from envs.registry import ENVIRONMENTS, LAWS, find, locomotion, make_batched, register

IDS = """
    HalfCheetahVel HalfCheetahDir HalfCheetahParams AntVel AntDir AntDir2D AntGoal AntParams
    HopperVel HopperDir HopperParams Walker2dVel Walker2dDir Walker2dParams HumanoidVel HumanoidDir
    HumanoidDir2D SwimmerVel SwimmerDir PaperHalfCheetahVel PaperHalfCheetahDir PaperAntVel
    PaperAntDir ProMPHalfCheetahVel ProMPHalfCheetahDir ProMPAntDir ProMPAntDir2D ProMPAntGoal
    ProMPWalker2dVel ProMPWalker2dDir ProMPHumanoidDir ProMPHumanoidDir2D ProMPSwimmerVel
    PEARLHalfCheetahVel PEARLHalfCheetahDir PEARLAntDir RandParamsHopper RandParamsWalker2d
    Navigation2D SparseNavigation2D TabularMDP BernoulliBandit GaussianBandit Sinusoid
    SinusoidFrequency LinearClassification Digits Glyphs ImageFolder Docstrings Text
"""


def test_the_ids_that_are_documented_are_registered():
    documented = {f"rlmaml/{name}-v0" for name in IDS.split()}
    registered = {name for name in gymnasium.registry if name.startswith("rlmaml/")}
    assert registered == documented == {row.id for row in ENVIRONMENTS}


def test_parameters_reach_the_environments():
    parameters = {"goal_range": (0.0, 1.0), "test_goal_range": ((2.0, 3.0),), "frame_skip": 1}
    env = gymnasium.make("rlmaml/HalfCheetahVel-v0", **parameters)
    vector = gymnasium.make_vec("rlmaml/HalfCheetahVel-v0", num_envs=2, **parameters)
    for family in (env.unwrapped, vector):
        assert family.task_space.high == 3.0
        assert family.sample_tasks(9, np.random.default_rng(0), split="test").min() >= 2.0
    assert env.unwrapped.dt == 0.01
    env.unwrapped.set_task([2.5])
    assert env.unwrapped.task == 2.5


def test_a_batch_does_not_render():
    with pytest.raises(TypeError, match="render_mode"):
        gymnasium.make_vec("rlmaml/AntDir-v0", num_envs=2, render_mode="rgb_array")


def test_images_and_texts_need_their_root():
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/ImageFolder-v0")
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/Text-v0")


@pytest.mark.parametrize("row", ENVIRONMENTS, ids=lambda row: row.id)
def test_no_parameter_belongs_to_two_parts(row):
    names = [name for part in (*row.parts, *row.drawing) for name in part.names()]
    assert len(set(names)) == len(names)
    for part in row.parts:
        accepted = set(inspect.signature(part.factory()).parameters)
        assert set(part.defaults) <= accepted
        assert set(part.needs) <= accepted


def test_an_unknown_parameter_is_refused_with_those_there_are():
    with pytest.raises(TypeError) as caught:
        gymnasium.make("rlmaml/AntVel-v0", goal_rnage=(0, 1))
    message = str(caught.value)
    assert "rlmaml/AntVel-v0 has no parameter 'goal_rnage' (did you mean 'goal_range'?)" in message
    for name in ("frame_skip", "survival_bonus", "goal_range", "balanced", "width", "pretty"):
        assert name in message
    with pytest.raises(TypeError, match=r"no parameter 'num_threads'.*it has"):
        gymnasium.make("rlmaml/AntVel-v0", num_threads=1)
    with pytest.raises(TypeError, match="HalfCheetahVel-v0 has no parameter 'survival_bonus'"):
        gymnasium.make("rlmaml/HalfCheetahVel-v0", survival_bonus=1.0)


@pytest.mark.parametrize(
    "env_id",
    [row.id for row in ENVIRONMENTS if "Paper" in row.id] + [row.id for row in LAWS],
)
def test_environments_of_papers_are_as_they_are_but_for_balance(env_id):
    gymnasium.make_vec(env_id, num_envs=1, balanced=True)
    for name in ("frame_skip", "ctrl_cost_weight", "goal_range"):
        with pytest.raises(TypeError, match=f"has no parameter '{name}'"):
            gymnasium.make(env_id, **{name: 1})


def test_a_row_of_ones_own():
    row = locomotion(
        "SlowCheetah-v0",
        HalfCheetah,
        GoalVelocity,
        robot_defaults={"frame_skip": 10},
        task_defaults={"goal_range": (0.0, 0.5)},
        max_episode_steps=7,
    )
    register(row)
    register(row)  # again is harmless
    try:
        env = gymnasium.make("SlowCheetah-v0", ctrl_cost_weight=0.2)
        assert env.unwrapped.dt == pytest.approx(0.1)
        assert env.unwrapped.task_space.high == 0.5
        vector = gymnasium.make_vec("SlowCheetah-v0", num_envs=2, goal_range=(0.0, 1.0))
        assert vector.task_space.high == 1.0
        assert vector.max_episode_steps == 7
        clone = pickle.loads(pickle.dumps(env))
        np.testing.assert_array_equal(clone.reset(seed=1)[0], env.reset(seed=1)[0])
    finally:
        del gymnasium.registry["SlowCheetah-v0"]


def test_rows_are_found_by_id():
    assert find("rlmaml/Sinusoid-v0").batched is None
    with pytest.raises(ValueError, match="no environment 'rlmaml/Sinusiod-v0'; there are rlmaml/"):
        find("rlmaml/Sinusiod-v0")
    with pytest.raises(ValueError, match="has no vector environment of its own"):
        make_batched(find("rlmaml/Sinusoid-v0"))
