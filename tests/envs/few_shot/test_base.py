"""Labeled examples: what families draw, and the environment that plays them."""

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


def rng(seed=0):
    return np.random.default_rng(seed)


def test_sinusoid_is_the_papers():
    family = SinusoidTasks()
    tasks = np.array([[2.0, 0.5], [0.1, 3.0]])
    inputs, targets = family.draw(tasks, 50, rng())
    assert inputs.shape == targets.shape == (2, 50, 1)
    assert inputs.dtype == targets.dtype == np.float32
    for (amplitude, phase), xs, ys in zip(tasks.tolist(), inputs, targets, strict=True):
        expected = [amplitude * math.sin(x - phase) for x in xs[:, 0].tolist()]
        np.testing.assert_allclose(ys[:, 0], expected, rtol=1e-6, atol=1e-7)


def test_frequency_sinusoid_and_its_noise():
    tasks = np.array([[2.0, 0.5, 1.0], [0.5, 2.0, 6.0]])
    inputs, targets = FrequencySinusoidTasks(noise_scale=0).draw(tasks, 50, rng())
    for (amplitude, w, b), xs, ys in zip(tasks.tolist(), inputs, targets, strict=True):
        expected = [amplitude * math.sin(w * x + b) for x in xs[:, 0].tolist()]
        np.testing.assert_allclose(ys[:, 0], expected, rtol=1e-5, atol=1e-6)

    inputs, targets = FrequencySinusoidTasks().draw(tasks, 40_000, rng())
    amplitude, w, b = tasks.T[:, :, None, None]
    noise = targets - amplitude * np.sin(w * inputs + b)
    np.testing.assert_allclose(noise.std(axis=(1, 2)), [0.02, 0.005], rtol=0.02)
    np.testing.assert_allclose(noise.mean(axis=(1, 2)), 0.0, atol=5e-4)
    with pytest.raises(ValueError, match="noise_scale is -1"):
        FrequencySinusoidTasks(noise_scale=-1)


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


@pytest.mark.parametrize(
    ("family", "low", "high"),
    [
        (SinusoidTasks(), -5, 5),
        (SinusoidTasks(input_range=(5, 6)), 5, 6),
        (FrequencySinusoidTasks(input_range=(-1, 0)), -1, 0),
    ],
)
def test_inputs_are_uniform(family, low, high):
    inputs, _ = family.draw(family.sample(2, rng()), 20_000, rng())
    assert (inputs.min(), inputs.max()) == pytest.approx((low, high), abs=0.01)
    assert inputs.mean() == pytest.approx((low + high) / 2, abs=0.05)
    assert family.inputs == spaces.Box(low, high, (1,), np.float32)


@pytest.mark.parametrize("bad", [(2, 1), (0, np.inf), (1,), 3.0])
def test_bad_ranges_are_refused(bad):
    with pytest.raises(ValueError, match="phase_range is"):
        SinusoidTasks(phase_range=bad)


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


@pytest.mark.parametrize("offset", [-0.5, 0.0, 0.5])
def test_lines_are_balanced_and_right(offset):
    family = LinearClassificationTasks()
    angles = np.linspace(0, 2 * np.pi, 24)
    tasks = np.stack([angles, np.full(24, offset)], axis=1)
    (support, labels), (query, wanted) = family.episode(tasks, 5, 300, rng())
    np.testing.assert_array_equal(labels, np.tile([0, 1], (24, 5)))
    np.testing.assert_array_equal(wanted, np.tile([0, 1], (24, 300)))
    for inputs, classes in [(support, labels), (query, wanted)]:
        for (angle, height), xs, cs in zip(tasks, inputs, classes, strict=True):
            side = math.cos(angle) * xs[:, 0].astype(float) + math.sin(angle) * xs[:, 1] > height
            np.testing.assert_array_equal(side, cs == 1)
    drawn, classes = family.draw(tasks, 2000, rng())
    np.testing.assert_allclose(classes.mean(axis=1), 0.5, atol=0.05)
    assert drawn.shape == (24, 2000, 2)


def test_the_smaller_side_is_filled_uniformly():
    # Of angle 0 and offset .5, class 1 is the strip from .5 to 1.
    inputs, labels = LinearClassificationTasks().draw(np.array([[0.0, 0.5]]), 20_000, rng())
    strip = inputs[labels == 1]
    np.testing.assert_allclose(strip.mean(axis=0), [0.75, 0.0], atol=0.02)
    np.testing.assert_allclose(strip.std(axis=0), [0.5 / 12**0.5, 2 / 12**0.5], rtol=0.03)


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


def test_images_and_texts_need_their_root():
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/ImageFolder-v0")
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/Text-v0")
