"""What oracles see of the package's tasks."""

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers the environments
from rlmaml.rng import generator
from rlmaml.sampling.examples import TaskInputs
from rlmaml.sampling.vector_env import TaskObservation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["Disabled", "SameStep"])
def test_an_oracle_sees_the_task_beside_the_observation(mode):
    """Also where an episode ends and another begins in the same step."""
    kwargs = {"num_envs": 2, "max_episode_steps": 2, "vectorization_mode": "vector_entry_point"}
    plain, shown = (
        gymnasium.make_vec("envs:rlmaml/TabularMDP-v0", autoreset_mode=mode, num_states=4, **kwargs)
        for _ in range(2)
    )
    shown = TaskObservation(shown)
    tasks = plain.sample_tasks(2, generator(0))
    plain.set_tasks(tasks)
    shown.set_tasks(tasks)
    states, _ = plain.reset(seed=3)
    observed, _ = shown.reset(seed=3)
    for _ in range(3):
        assert observed.shape[1:] == shown.single_observation_space.shape
        np.testing.assert_array_equal(observed[:, :4], np.eye(4)[states])
        np.testing.assert_array_equal(observed[:, 4:], tasks.reshape(2, -1))
        states, _, _, truncations, info = plain.step(np.array([1, 2]))
        observed, *_, other = shown.step(np.array([1, 2]))
        if mode == "SameStep" and truncations.any():
            final = np.stack(list(other["final_obs"]))
            np.testing.assert_array_equal(final[:, 4:], tasks.reshape(2, -1))
            np.testing.assert_array_equal(final[:, :4], np.eye(4)[list(info["final_obs"])])


def test_a_discrete_task_is_shown_one_hot():
    env = gymnasium.make_vec(
        "envs:rlmaml/HalfCheetahDir-v0", num_envs=3, vectorization_mode="vector_entry_point"
    )
    shown = TaskObservation(env)
    shown.set_tasks(np.array([1, 0, 1]))
    observed, _ = shown.reset(seed=0)
    np.testing.assert_array_equal(observed[:, -2:], [[0, 1], [1, 0], [0, 1]])
    assert observed.shape == (3, 19)
    assert shown.sample_tasks(4, generator(0)).shape == (4,)


def test_an_oracle_of_examples_has_the_task_among_its_inputs():
    family = gymnasium.make("rlmaml/Sinusoid-v0").unwrapped.examples
    shown = TaskInputs(family)
    tasks = shown.sample(3, generator(0), split="test")
    plain, more = (each.episode(tasks, 4, 5, generator(1)) for each in (family, shown))
    for (x, y), (task_x, same_y), count in zip(plain, more, (4, 5), strict=True):
        np.testing.assert_array_equal(task_x[..., 2:], x)
        np.testing.assert_array_equal(y, same_y)
        np.testing.assert_allclose(task_x[..., :2], np.tile(tasks[:, None], (1, count, 1)))
    assert shown.inputs.shape == (3,)
    with pytest.raises(ValueError, match="beside a vector"):
        TaskInputs(gymnasium.make("rlmaml/Digits-v0").unwrapped.examples)
