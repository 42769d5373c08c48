"""Labeled examples: what every family draws, and the environment that plays them."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.few_shot.base import ExampleEnv, ExampleTasks
from envs.few_shot.half_planes import LinearClassificationTasks
from envs.few_shot.sinusoid import FrequencySinusoidTasks, SinusoidTasks
from tests.helpers.few_shot import rng


@pytest.mark.parametrize(
    ("family", "low", "high"),
    [
        (SinusoidTasks(), [0.1, 0.0], [5.0, np.pi]),
        (SinusoidTasks([1, 2], [3, 4], [5, 6]), [1, 3], [2, 4]),
        (FrequencySinusoidTasks(), [0.1, 0.5, 0.0], [5.0, 2.0, 2 * np.pi]),
        (LinearClassificationTasks(), [0.0, -0.5], [2 * np.pi, 0.5]),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_laws_of_the_tasks(family, low, high, split):
    tasks = family.sample(20_000, rng(), split)
    width = np.subtract(high, low)
    assert (tasks >= low).all()
    assert (tasks <= high).all()
    np.testing.assert_allclose(tasks.mean(axis=0), np.add(low, high) / 2, atol=0.02 * width.max())
    np.testing.assert_allclose(tasks.std(axis=0), width / math.sqrt(12), rtol=0.02)
    np.testing.assert_array_equal(family.space.low, low)
    np.testing.assert_array_equal(family.space.high, high)


@pytest.mark.slow
def test_an_episode_is_drawn_from_the_given_generator_alone(make_examples):
    family = make_examples().unwrapped.examples
    tasks = family.sample(4, rng())
    first, again, other = (family.episode(tasks, 1, 2, rng(seed)) for seed in (1, 1, 2))
    for a, b, c in zip(sum(first, ()), sum(again, ()), sum(other, ()), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == c.shape
    assert (first[0][0] != other[0][0]).any()
    assert (first[0][0][0] != first[0][0][1]).any()  # tasks have inputs of their own


def test_an_episode_has_the_law_of_its_task(make_examples):
    """Shapes, kinds and spaces; and that support and query are not the same examples."""
    family = make_examples().unwrapped.examples
    tasks = family.sample(6, rng())
    classes = isinstance(family.outputs, spaces.Discrete)
    way = int(family.outputs.n) if classes else 1
    (support, labels), (query, wanted) = family.episode(tasks, 1, 2, rng())
    assert support.shape == (6, way, *family.inputs.shape)
    assert query.shape == (6, 2 * way, *family.inputs.shape)
    assert support.dtype == query.dtype == family.inputs.dtype
    assert support.dtype in (np.float32, np.int64)  # int64 where they are token ids
    assert labels.dtype == wanted.dtype == (np.int64 if classes else np.float32)
    assert labels.shape == (6, way, *family.outputs.shape)
    assert wanted.shape == (6, 2 * way, *family.outputs.shape)
    for x, y in [(support, labels), (query, wanted)]:
        assert all(family.inputs.contains(one) for row in x for one in row)
        assert all(family.outputs.contains(one) for row in y for one in row)
    for task in range(6):
        assert not {x.tobytes() for x in support[task]} & {x.tobytes() for x in query[task]}


def test_sizes_below_one_are_refused(make_examples):
    family = make_examples().unwrapped.examples
    family.check_episode(1, 1)
    for shots, queries in [(0, 1), (1, 0), (-1, 5)]:
        with pytest.raises(ValueError, match=f"{shots} shots and {queries} queries"):
            family.check_episode(shots, queries)


def test_losses():
    outputs, targets = np.array([[1.0, 2.0], [0.0, 0.5]]), np.array([[0.0, 4.0], [0.0, 0.0]])
    squared = SinusoidTasks().loss(outputs, targets)  # summed over an output's numbers
    np.testing.assert_array_equal(squared, [5.0, 0.25])
    wrong = LinearClassificationTasks().loss(np.array([0, 1, 1]), np.array([0, 0, 1]))
    np.testing.assert_array_equal(wrong, [0.0, 1.0, 0.0])
    assert wrong.dtype == squared.dtype == np.float64


def test_the_environment_pays_minus_the_loss(make_examples):
    env = make_examples()
    family = env.unwrapped.examples
    env.action_space.seed(0)
    for seed in range(10):
        task = family.sample(1, rng(seed))
        first, info = env.reset(seed=seed, options={"task": task[0]})
        # The example is the one that the family draws from the environment's generator.
        generator = np.random.default_rng(seed)
        inputs, targets = family.draw(task, 1, generator)
        np.testing.assert_array_equal(first, inputs[0, 0])
        np.testing.assert_array_equal(info["task"], task[0])
        action = env.action_space.sample()
        last, reward, terminated, _, info = env.step(action)
        np.testing.assert_array_equal(last, first)
        np.testing.assert_array_equal(info["target"], targets[0, 0])
        if isinstance(family.outputs, spaces.Discrete):
            expected = float(action != targets[0, 0])
        else:
            expected = (float(action[0]) - float(targets[0, 0, 0])) ** 2
        assert info["loss"] == pytest.approx(expected, rel=1e-12)
        assert reward == -info["loss"]
        assert terminated
        assert env.unwrapped.np_random.bit_generator.state == generator.bit_generator.state


def test_an_action_may_leave_its_bounds():
    env = gymnasium.make("rlmaml/Sinusoid-v0")
    assert env.action_space == spaces.Box(-10, 10, (1,), np.float32)
    env.reset(seed=0)
    info = env.step(np.array([100.0]))[4]
    assert info["loss"] == pytest.approx((100.0 - float(info["target"][0])) ** 2)


def test_bad_actions_are_refused():
    env = gymnasium.make("rlmaml/Sinusoid-v0", disable_env_checker=True).unwrapped
    with pytest.raises(ResetNeeded):
        env.step([0.0])
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(1,\)"):
        env.step([0.0, 0.0])
    with pytest.raises(ValueError, match="not finite"):
        env.step([np.nan])
    env = gymnasium.make("rlmaml/Digits-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    for bad in (3, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="an integer from 0 to 2"):
            env.step(bad)
    with pytest.raises(ValueError, match="nothing to draw"):
        gymnasium.make("rlmaml/Digits-v0", render_mode="human")


def test_many_at_once(make_examples):
    vector = SyncVectorEnv([make_examples] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    family = make_examples().unwrapped.examples
    tasks = family.sample(3, rng(5))
    vector.set_attr("task", list(tasks))
    first, info = vector.reset(seed=7)
    np.testing.assert_array_equal(info["task"], tasks)
    second, rewards, terminations, _, info = vector.step(vector.action_space.sample())
    assert terminations.all()
    assert (first != second).reshape(3, -1).any(axis=1).all()
    np.testing.assert_array_equal(rewards, -info["final_info"]["loss"])


def test_classes_need_a_family_of_classes():
    class Mistaken(ExampleTasks):
        space, outputs = spaces.Discrete(2), spaces.Discrete(2)
        default = np.array(0)
        inputs = spaces.Box(0, 1, (1,), np.float32)

        def sample(self, n, rng, split="train"):
            return rng.integers(2, size=n)

        def draw(self, tasks, count, rng):
            return np.zeros((len(tasks), count, 1)), np.zeros((len(tasks), count))

    with pytest.raises(TypeError, match=r"Mistaken has classes .* subclass ClassTasks"):
        ExampleEnv(Mistaken())
