"""What every registered environment promises, single and batched."""

from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.registry import find
from tests.helpers.vector_actions import random_actions, same_action

LIMITS = {
    "rlmaml/ProMPHalfCheetahDir-v0": 100,
    "rlmaml/Navigation2D-v0": 100,
    "rlmaml/SparseNavigation2D-v0": 20,
    "rlmaml/TabularMDP-v0": 10,
    "rlmaml/BernoulliBandit-v0": 1,
    "rlmaml/GaussianBandit-v0": 1,
}


def test_spec(env_id):
    env = gymnasium.make(env_id)
    assert env.spec is not None
    assert env.spec.max_episode_steps == LIMITS.get(env_id, 200)
    vector = gymnasium.make_vec(env_id, num_envs=3)
    assert vector.max_episode_steps == env.spec.max_episode_steps
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert vector.single_observation_space == env.observation_space
    assert vector.single_action_space == env.action_space
    assert vector.task_space == env.unwrapped.task_space
    assert env_id in repr(vector)
    assert set(vector.diagnostics) == set(env.unwrapped.diagnostics)
    vector.close()
    vector.close()
    env.close()


@pytest.mark.slow
def test_gymnasium_checker(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Neither bounds nor a symmetric unit box are what these robots have.
        warnings.filterwarnings("ignore", message=".*(minimum|maximum) value is (-)?infinity")
        warnings.filterwarnings("ignore", message=".*For Box action spaces, we recommend")
        check_env(make().unwrapped, skip_render_check=True)


@pytest.mark.slow
def test_stable_baselines_checker(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # SB3 would have the point's ±.1 and a wave's ±10 rescaled to ±1.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")
        # Its own networks for images take uint8, and 36 x 36 pixels.
        warnings.filterwarnings("ignore", message="It seems that your observation.* is an image")
        warnings.filterwarnings("ignore", message="The minimal resolution for an image")
        sb3_check_env(make(), warn=True)


def test_a_seed_determines_the_episode(make):
    def episode(env):
        first, _ = env.reset(seed=11)
        env.action_space.seed(0)
        steps = [env.step(env.action_space.sample()) for _ in range(5)]
        return [first, env.reset()[0], *(part for step in steps for part in step[:2])]

    a, b = episode(make()), episode(make())
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_robots_start_at_random(robot_id):
    vector = gymnasium.make_vec(robot_id, num_envs=3)
    first, _ = vector.reset(seed=0)
    again, _ = vector.reset()
    assert len({row.tobytes() for row in np.concatenate([first, again])}) == 6


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tasks_come_from_the_given_generator_alone(make, split):
    env = make().unwrapped
    np.random.seed(0)  # noqa: NPY002
    env.reset(seed=0)
    before = (env.np_random.bit_generator.state, np.random.get_state()[1].copy())  # noqa: NPY002
    tasks = env.sample_tasks(50, np.random.default_rng(5), split=split)
    after = (env.np_random.bit_generator.state, np.random.get_state()[1])  # noqa: NPY002
    assert tasks.shape == (50, *env.task_space.shape)
    assert all(env.task_space.contains(task) for task in tasks)
    assert len(np.unique(tasks, axis=0)) > 1
    np.testing.assert_array_equal(
        tasks, env.sample_tasks(50, np.random.default_rng(5), split=split)
    )
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])
    with pytest.raises(ValueError, match=r"'dev'.*'train', 'validation' and 'test'"):
        env.sample_tasks(1, np.random.default_rng(0), split="dev")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_batch_draws_the_tasks_of_a_single_environment(env_id, split):
    single, vector = gymnasium.make(env_id).unwrapped, gymnasium.make_vec(env_id, num_envs=2)
    np.testing.assert_array_equal(
        single.sample_tasks(50, np.random.default_rng(5), split=split),
        vector.sample_tasks(50, np.random.default_rng(5), split=split),
    )


def test_task_is_set_seen_and_kept(make):
    env = make()
    robot = env.unwrapped
    task = robot.sample_tasks(3, np.random.default_rng(1))[2]
    robot.set_task(task)
    np.testing.assert_array_equal(env.reset(seed=0)[1]["task"], task)
    np.testing.assert_array_equal(env.step(env.action_space.sample())[4]["task"], task)
    for clone in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        np.testing.assert_array_equal(clone.unwrapped.task, task)
        assert clone.unwrapped.task.dtype == robot.task.dtype
        observation, info = clone.reset(seed=3)
        np.testing.assert_array_equal(observation, env.reset(seed=3)[0])
        np.testing.assert_array_equal(info["task"], task)
    other = robot.sample_tasks(1, np.random.default_rng(2))[0]
    assert env.reset(options={"task": other})[1]["task"] == pytest.approx(other)
    env.set_wrapper_attr("task", task)  # how gymnasium's vector environments set it
    np.testing.assert_array_equal(robot.task, task)
    if task.ndim:
        robot.task[...] = -1
        np.testing.assert_array_equal(robot.task, task)


def test_tasks_are_set_seen_and_kept_in_a_batch(env_id):
    vector = gymnasium.make_vec(env_id, num_envs=4, autoreset_mode="Disabled")
    tasks = vector.sample_tasks(4, np.random.default_rng(1))
    given = tasks.copy()
    vector.set_tasks(given)
    given[...] = 0
    np.testing.assert_array_equal(vector.reset(seed=0)[1]["task"], tasks)
    np.testing.assert_array_equal(vector.step(same_action(vector))[4]["task"], tasks)
    for clone in (pickle.loads(pickle.dumps(vector)), copy.deepcopy(vector)):
        np.testing.assert_array_equal(clone.tasks, tasks)
        assert clone.metadata == vector.metadata
        np.testing.assert_array_equal(clone.reset(seed=3)[0], vector.reset(seed=3)[0])
    other = vector.sample_tasks(4, np.random.default_rng(2))
    vector.reset(options={"tasks": other})
    np.testing.assert_array_equal(vector.tasks, other)


def test_a_task_outside_the_space_is_refused(env_id):
    env = gymnasium.make(env_id).unwrapped
    vector = gymnasium.make_vec(env_id, num_envs=3)
    default = env.task
    inside = env.sample_tasks(3, np.random.default_rng(0))
    outside = inside.copy()
    # Of the normal distribution only what is not finite is impossible.
    beyond = np.inf if "Gaussian" in env_id else 99
    outside[1] = beyond
    with pytest.raises(ValueError, match=rf"task 1 is .*{beyond}.* outside the task space"):
        vector.set_tasks(outside)
    with pytest.raises(ValueError, match=r"shape \(2,.*expected \(3,"):
        vector.set_tasks(inside[:2])
    with pytest.raises(ValueError, match="outside the task space"):
        env.set_task(outside[1])
    with pytest.raises(ValueError, match="have shape"):
        env.set_task(inside)
    if inside.dtype.kind == "f":
        with pytest.raises(ValueError, match="outside the task space"):
            env.set_task(np.full_like(inside[0], np.nan))
    else:
        with pytest.raises(ValueError, match="integer array"):
            env.set_task(1.0)
        with pytest.raises(ValueError, match=r"task 0 is -1"):
            env.set_task(-1)
    np.testing.assert_array_equal(env.task, default)


def test_unknown_options_are_refused(make):
    with pytest.raises(ValueError, match=r"\['tasks'\].*has 'task'"):
        make().reset(options={"tasks": 0})
    with pytest.raises(TypeError, match="goal_rnage"):
        make(goal_rnage=(0, 1))


def test_unknown_options_are_refused_by_a_batch(env_id):
    with pytest.raises(ValueError, match=r"\['task'\].*'reset_mask' and 'tasks'"):
        gymnasium.make_vec(env_id, num_envs=2).reset(options={"task": 0})


def test_returned_arrays_are_never_written_to_again(env_id):
    vector = gymnasium.make_vec(env_id, num_envs=3, max_episode_steps=3)
    kept = [(vector.reset(seed=0)[0], None)]
    for _ in range(5):
        step = vector.step(same_action(vector, 0.01))
        kept += [(array, None) for array in step[:4]]
        kept += [(step[4][key], None) for key in ("diverged", *vector.diagnostics)]
    kept = [(array, array.copy()) for array, _ in kept]
    arrays = [array for array, _ in kept]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:i])
    arrays[0][...] = 7  # nor does writing to one reach the simulation
    vector.reset(seed=1)
    vector.step(same_action(vector))
    for array, copied in kept[1:]:
        np.testing.assert_array_equal(array, copied)


def test_single_observations_are_never_written_to_again(make):
    env = make()
    first, _ = env.reset(seed=0)
    copied = first.copy()
    second = env.step(env.action_space.sample())[0]
    np.testing.assert_array_equal(first, copied)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_action_names_its_environment(continuous_id, bad):
    vector = gymnasium.make_vec(continuous_id, num_envs=5)
    vector.reset(seed=0)
    actions = np.zeros(vector.action_space.shape)
    actions[3, 1] = bad
    with pytest.raises(ValueError, match="environment 3 got a non-finite action"):
        vector.step(actions)
    with pytest.raises(ValueError, match="actions have shape"):
        vector.step(actions[:2])
    env = gymnasium.make(continuous_id)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="non-finite action"):
        env.step(actions[3])
    with pytest.raises(ValueError, match="actions have shape"):
        env.step(actions[3, :1])


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_action_that_is_none_names_its_environment(discrete_id, bad):
    vector = gymnasium.make_vec(discrete_id, num_envs=5)
    vector.reset(seed=0)
    actions = same_action(vector)
    actions[3] = bad
    with pytest.raises(ValueError, match=f"environment 3 got the action {bad}; .* 0 to 4"):
        vector.step(actions)
    with pytest.raises(ValueError, match=r"actions have shape \(2,\), expected \(5,\)"):
        vector.step(actions[:2])
    for kind in (np.float64, np.bool_):
        with pytest.raises(ValueError, match="actions are integers from 0 to 4, but came as"):
            vector.step(np.zeros(5, dtype=kind))
    env = gymnasium.make(discrete_id, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"got the action {bad}"):
        env.step(bad)
    with pytest.raises(ValueError, match="but came as float64"):
        env.step(1.0)
    with pytest.raises(ValueError, match="actions have shape"):
        env.step(actions)
    env.step(4)


def test_integers_are_observed_as_integers(discrete_id):
    env = gymnasium.make(discrete_id)
    vector = gymnasium.make_vec(discrete_id, num_envs=3)
    single = (env.reset(seed=0)[0], env.step(env.action_space.sample())[0])
    assert all(isinstance(observation, np.int64) for observation in single)
    for observations in (vector.reset(seed=0)[0], vector.step(same_action(vector))[0]):
        assert observations.dtype == np.int64
        assert observations.shape == (3,)
        assert observations in vector.observation_space


def test_step_before_reset_is_refused(env_id):
    vector = gymnasium.make_vec(env_id, num_envs=2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="every simulation"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(same_action(vector))


def test_bad_arguments_are_refused(robot_id):
    with pytest.raises(ValueError, match="NEXT_STEP"):
        gymnasium.make_vec(robot_id, num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="num_threads is 0"):
        gymnasium.make_vec(robot_id, num_envs=2, num_threads=0)
    with pytest.raises(ValueError, match="num_envs is 0"):
        gymnasium.make_vec(robot_id, num_envs=0)
    if find(robot_id).parts[0].settable is None:  # not fixed, as in laws of papers
        with pytest.raises(ValueError, match="frame_skip is 0"):
            gymnasium.make_vec(robot_id, num_envs=2, frame_skip=0)


M = 6
FORCES = {"contact_cost_weight": 5e-4, "include_cfrc_ext_in_observation": True}


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


STEPS = 205  # beyond the robots' time limit, so that every simulation is reset at least once


VARIANTS = [
    ("rlmaml/HalfCheetahVel-v0", {}),
    ("rlmaml/HalfCheetahDir-v0", {"frame_skip": 1}),
    ("rlmaml/AntVel-v0", {"survival_bonus": 0.3}),
    ("rlmaml/AntDir-v0", {}),
    ("rlmaml/AntDir-v0", {"frame_skip": 2, **FORCES}),
    ("rlmaml/PaperHalfCheetahVel-v0", {}),
    ("rlmaml/PaperAntDir-v0", {}),
    ("rlmaml/Navigation2D-v0", {}),
    ("rlmaml/Navigation2D-v0", {"scaled_actions": True}),
    ("rlmaml/SparseNavigation2D-v0", {}),
    ("rlmaml/SparseNavigation2D-v0", {"dense": True}),
    ("rlmaml/TabularMDP-v0", {}),
    ("rlmaml/TabularMDP-v0", {"num_states": 3, "num_actions": 2, "reward_noise": 0.0}),
    ("rlmaml/BernoulliBandit-v0", {}),
    ("rlmaml/GaussianBandit-v0", {"num_arms": 2}),
]


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("env_id", "parameters"), VARIANTS)
def test_batched_equals_single(env_id, parameters, num_threads):
    batched = gymnasium.make_vec(env_id, num_envs=M, num_threads=num_threads, **parameters)
    singles = SyncVectorEnv(
        [lambda: gymnasium.make(env_id, **parameters)] * M, autoreset_mode=AutoresetMode.SAME_STEP
    )
    tasks = batched.sample_tasks(M, np.random.default_rng(0))
    batched.set_tasks(tasks)
    singles.set_attr("task", list(tasks))
    same(batched.reset(seed=3)[0], singles.reset(seed=3)[0])
    rng = np.random.default_rng(1)
    finished = 0
    for _ in range(STEPS):
        actions = random_actions(batched, rng)
        *ours, info = batched.step(actions)
        *theirs, expected = singles.step(actions)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
        done = ours[2] | ours[3]
        finished += done.sum()
        same("final_obs" in info, done.any())
        for key in expected.keys() - {"final_obs", "final_info"}:
            if not key.startswith("_"):
                same(info[key][~done], expected[key][~done])
        for i in np.flatnonzero(done):
            same(info["final_obs"][i], expected["final_obs"][i])
            for key, values in expected["final_info"].items():
                same(info["final_info"][key][i], values[i])
                if key.startswith("_"):
                    same(info["final_info"][key], values)
    assert finished >= M
