"""Worlds: the law of their factors, and simulations against models made by hand."""

from __future__ import annotations

import copy
import math
import pickle

import mujoco
import numpy as np
import pytest

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import State
from envs.locomotion.robots.hopper import Hopper
from envs.locomotion.robots.walker2d import Walker2d
from envs.locomotion.tasks import Direction, Dynamics
from envs.locomotion.vector_env import LocomotionVectorEnv
from tests.helpers.robots import moving
from tests.helpers.runs import RunDir, assert_same_run, run, tiny

DERIVED = ("body_invweight0", "dof_invweight0", "body_subtreemass")


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def world(robot, task, *, number_by_number=False, derive=True):
    """The robot's model with its numbers multiplied one after another, in the model's order."""
    model, factors = robot.model(), iter(task)
    for body in np.flatnonzero(model.body_mass):
        factor = next(factors)
        model.body_mass[body] *= factor
        if not number_by_number:
            model.body_inertia[body] *= factor
    if number_by_number:
        for body in np.flatnonzero(model.body_mass):
            for axis in range(3):
                model.body_inertia[body, axis] *= next(factors)
    for geom in np.flatnonzero(model.geom_contype | model.geom_conaffinity):
        if number_by_number:
            for axis in range(3):
                model.geom_friction[geom, axis] *= next(factors)
        else:
            model.geom_friction[geom] *= next(factors)
    for dof in np.flatnonzero(model.dof_damping):
        model.dof_damping[dof] *= next(factors)
    assert next(factors, None) is None
    if derive:
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def put(model, vector, i):
    """An MjData of the model in the state that simulation i is in."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = vector.simulation.qpos[i], vector.simulation.qvel[i]
    mujoco.mj_forward(model, data)
    return data


def stepped(robot, model, data, action):
    """State after a step that is taken by hand."""
    data.ctrl[:] = action
    mujoco.mj_step(model, data, nstep=robot.frame_skip)
    if "cfrc_ext" in robot.reads:
        mujoco.mj_rnePostConstraint(model, data)
    fields = {name: getattr(data, name)[None] for name in robot.reads}
    return State(data.qpos[None], data.qvel[None], fields)


def assert_steps_are_those_of_worlds(robot, threads, **options):
    """130 steps with contacts, time limits, falls, and other worlds in the middle of episodes."""
    vector = LocomotionVectorEnv(
        robot, Dynamics(**options), 3, num_threads=threads, max_episode_steps=50
    )
    rng = np.random.default_rng(0)
    tasks = vector.sample_tasks(3, rng)
    vector.reset(seed=0, options={"tasks": tasks})
    worlds = [world(robot, task, **options) for task in tasks]
    made = [put(model, vector, i) for i, model in enumerate(worlds)]
    contacts = ends = 0
    for step in range(130):
        if step in (20, 77):
            tasks = vector.sample_tasks(3, rng)
            vector.set_tasks(tasks)
            worlds = [world(robot, task, **options) for task in tasks]
        actions = rng.uniform(-1, 1, vector.action_space.shape)
        observations, _, terminations, truncations, info = vector.step(actions)
        for i, model in enumerate(worlds):
            state = stepped(robot, model, made[i], actions[i])
            contacts += made[i].ncon
            last = observations[i]
            if terminations[i] or truncations[i]:
                ends += 1
                last = info["final_obs"][i]
                made[i] = put(model, vector, i)
            same(last, robot.observation(state)[0])
            for name, part in robot.rewards(actions[i : i + 1], state).items():
                same(info[name][i], part[0])
    assert contacts > 100
    assert ends > 5


FORCES = Ant(contact_cost_weight=5e-4, include_cfrc_ext_in_observation=True)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("robot", [Hopper(), Walker2d(), FORCES], ids=lambda r: type(r).__name__)
def test_a_simulation_in_a_world_is_that_of_its_model(robot, threads):
    assert_steps_are_those_of_worlds(robot, threads)


@pytest.mark.parametrize("options", [{"number_by_number": True}, {"derive": False}])
def test_worlds_as_of_rand_param_envs_are_those_of_their_models(options):
    assert_steps_are_those_of_worlds(Walker2d(), 2, **options)


def test_a_single_environment_is_one_of_many():
    env = LocomotionEnv(FORCES, Dynamics())
    vector = LocomotionVectorEnv(
        FORCES, Dynamics(), 3, num_threads=1, max_episode_steps=None, autoreset_mode="Disabled"
    )
    rng = np.random.default_rng(0)
    tasks = vector.sample_tasks(3, rng)
    first = vector.reset(seed=5, options={"tasks": tasks})[0]
    same(env.reset(seed=6, options={"task": tasks[1]})[0], first[1])
    for step in range(60):
        if step == 20:
            tasks = vector.sample_tasks(3, rng)
            vector.set_tasks(tasks)
            env.set_task(tasks[1])
        actions = rng.uniform(-1, 1, (3, 8))
        one, many = env.step(actions[1]), vector.step(actions)
        for a, b in zip(one[:4], many[:4], strict=True):
            same(a, b[1])
        if one[2]:
            break
    assert step > 25


@pytest.mark.parametrize("given", [False, True])
def test_a_world_of_factors_of_1_is_gymnasiums(given):
    vector = LocomotionVectorEnv(Hopper(), Dynamics(), 3, num_threads=1)
    plain = LocomotionVectorEnv(Hopper(), Direction(), 3, num_threads=1)
    if given:
        vector.set_tasks(vector.sample_tasks(3, np.random.default_rng(0)))
        vector.set_tasks(np.ones((3, 12)))
    same(vector.reset(seed=0)[0], plain.reset(seed=0, options={"tasks": [0, 0, 0]})[0])
    rng = np.random.default_rng(1)
    for _ in range(100):
        actions = rng.uniform(-1, 1, (3, 3))
        for a, b in zip(vector.step(actions)[:4], plain.step(actions)[:4], strict=True):
            same(a, b)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_are_in_the_same_worlds(again):
    vector = LocomotionVectorEnv(Hopper(), Dynamics(), 3, num_threads=1)
    nominal = LocomotionVectorEnv(Hopper(), Dynamics(), 3, num_threads=1)
    env = LocomotionEnv(Hopper(), Dynamics())
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    vector.set_tasks(tasks)
    env.set_task(tasks[0])
    others, other = again(vector), again(env)
    same(others.tasks, tasks)
    for each in (vector, others, nominal):
        each.reset(seed=0)
    for each in (env, other):
        each.reset(seed=0)
    actions = np.full((3, 3), 0.5)
    for _ in range(10):
        expected = vector.step(actions)[0]
        same(others.step(actions)[0], expected)
        assert (nominal.step(actions)[0] != expected).any(axis=1).all()
        one = env.step(actions[0])[0]
        same(other.step(actions[0])[0], one)
        same(one, expected[0])


@pytest.mark.parametrize("derive", [True, False])
def test_what_follows_from_masses_is_derived_or_left(derive):
    nominal = Hopper().model()
    vector = LocomotionVectorEnv(Hopper(), Dynamics(derive=derive), 2, num_threads=1)
    env = LocomotionEnv(Hopper(), Dynamics(derive=derive))
    tasks = np.stack([np.ones(12), np.full(12, 2.0)])
    vector.set_tasks(tasks)
    env.set_task(tasks[1])
    for model in (env.model, vector.simulation.batch.get_model(1)):
        same(model.body_mass, 2.0 * nominal.body_mass)
        same(model.body_inertia, 2.0 * nominal.body_inertia)
        for name in DERIVED:
            assert np.array_equal(getattr(model, name), getattr(nominal, name)) is not derive
    if derive:
        np.testing.assert_allclose(env.model.body_subtreemass, 2.0 * nominal.body_subtreemass)


@pytest.mark.parametrize(
    ("robot", "count", "number_by_number"), [(Hopper(), 12, 34), (Walker2d(), 21, 58)]
)
def test_there_is_a_factor_for_each_number_of_a_model(robot, count, number_by_number):
    model = robot.model()
    assert Dynamics().of(model).space.shape == (count,)
    assert Dynamics(number_by_number=True).of(model).space.shape == (number_by_number,)


def hopper(**parameters):
    return Dynamics(**parameters).of(Hopper().model())


BASES = np.repeat([1.5, 1.3], [4 + 5, 3])  # masses and frictions, and dampings


def test_exponents_of_factors_are_uniform():
    family = hopper()
    drawn = family.sample(1000, np.random.default_rng(0))
    assert drawn.shape == (1000, 12)
    same(family.check(drawn, 1000), drawn)
    exponents = np.log(drawn) / np.log(BASES)
    for each in exponents.T:
        assert np.histogram(each, 4, (-3.0, 3.0))[0] / 1000 == pytest.approx(0.25, abs=0.06)
    # Each by itself: twelve independent columns.
    between = np.corrcoef(exponents.T) - np.eye(12)
    assert np.abs(between).max() < 0.15
    np.testing.assert_allclose(family.space.high, BASES**3, rtol=1e-14)
    np.testing.assert_allclose(family.space.low, BASES**-3.0, rtol=1e-14)
    same(family.default, np.ones(12))


def test_splits_of_worlds():
    family = hopper(log_scale_limit=1.0, test_log_scale_limit=2.0)
    rng = np.random.default_rng(0)
    for split, limit in (("train", 1.0), ("validation", 1.0), ("test", 2.0)):
        furthest = np.abs(np.log(family.sample(300, rng, split)) / np.log(BASES)).max()
        assert 0.95 * limit < furthest <= limit * (1 + 1e-12)
    np.testing.assert_allclose(family.space.high, BASES**2, rtol=1e-14)
    with pytest.raises(ValueError, match="split is 'dev'"):
        family.sample(1, rng, "dev")


def test_balanced_worlds_have_one_of_each_part_for_each_factor():
    drawn = hopper(balanced=True).sample(6, np.random.default_rng(0))
    exponents = np.log(drawn) / np.log(BASES)
    for each in exponents.T:
        assert np.histogram(each, 6, (-3.0, 3.0))[0].tolist() == [1] * 6
    assert len({tuple(np.argsort(each).tolist()) for each in exponents.T}) > 6


def test_what_does_not_vary_is_left():
    nominal = Hopper().model()
    env = LocomotionEnv(Hopper(), Dynamics(["damping", "mass"], 1.0))
    assert env.task_space.shape == (7,)
    env.set_task([1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.3])  # masses first, as the table has them
    same(env.model.body_mass, nominal.body_mass * [1, 1.5, 1, 1, 1])
    same(env.model.geom_friction, nominal.geom_friction)
    same(env.model.dof_damping, nominal.dof_damping * [1, 1, 1, 1, 1, 1.3])


def test_a_world_pays_the_velocity_along_x():
    tasks = hopper().sample(2, np.random.default_rng(0))
    assert hopper().reward(tasks, moving([2.0, -1.0])).tolist() == [2.0, -1.0]
    weighted = hopper(forward_reward_weight=0.5)
    assert weighted.reward(tasks, moving([2.0, -1.0])).tolist() == [1.0, -0.5]


def test_a_world_in_words_and_for_frames():
    task = np.repeat([1.0, 2.0, 0.5], [4, 5, 3])
    task[0], task[-1] = 0.3, 1.25
    said = "mass x0.3-1, friction x2-2, damping x0.5-1.2"
    assert hopper().describe(task) == said
    assert hopper().goal(task).direction.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"vary": "mass"}, r"vary is 'mass'; choose some of mass, friction, damping, as a list"),
        ({"vary": ()}, r"vary is \(\)"),
        ({"vary": 5}, "vary is 5"),
        ({"vary": [["mass"]]}, r"vary is \[\['mass'\]\]"),
        ({"vary": ["inertia"]}, "choose some of mass, friction, damping"),
        ({"vary": ["gravity"], "number_by_number": True}, "some of mass, inertia, friction"),
        ({"log_scale_limit": 0.0}, "^log_scale_limit is 0.0; it is above 0"),
        ({"log_scale_limit": math.inf}, "^log_scale_limit is inf"),
        ({"test_log_scale_limit": 21.0}, "^test_log_scale_limit is 21.0; .*at most 20"),
    ],
)
def test_bad_parameters_of_worlds_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Dynamics(**parameters)


@pytest.mark.parametrize("name", ["balanced", "number_by_number", "derive"])
def test_switches_are_true_or_false(name):
    with pytest.raises(TypeError, match=f"{name} is 1; it is True or False"):
        Dynamics(**{name: 1})


def test_worlds_out_of_range_or_of_another_robot_are_refused():
    vector = LocomotionVectorEnv(Hopper(), Dynamics(), 1, num_threads=1)
    mass = vector.simulation.model.body_mass.copy()
    with pytest.raises(ValueError, match=r"have shape \(1, 21\), expected \(1, 12\)"):
        vector.set_tasks(np.ones((1, 21)))
    with pytest.raises(ValueError, match=r"task 0 is 0.0 at \[0\], outside the task space"):
        vector.set_tasks(np.concatenate([np.zeros((1, 1)), np.ones((1, 11))], axis=1))
    same(vector.simulation.batch.get_model(0).body_mass, mass)


@pytest.mark.slow
def test_training_in_worlds_is_resumed_to_the_bit(tmp_path):
    words = ("--env.id", "rlmaml/HopperParams-v0", "--env.kwargs", "{}", "--checkpoint-every", "1")
    whole = tiny(tmp_path / "whole", *words, "--iterations", 2, preset="navigation")
    tiny(tmp_path / "parts", *words, "--iterations", 1, preset="navigation")
    run("train", "--resume", tmp_path / "parts", "--iterations", 2)
    assert_same_run(whole, RunDir(tmp_path / "parts"))
