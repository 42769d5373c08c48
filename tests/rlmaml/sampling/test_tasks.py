"""Tasks of every kind: drawn from spaces, taken from samplers, and as plain values."""

import json

import gymnasium
import numpy as np
import pytest

from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.task_values import numbers_or_objects, plain, same, text
from rlmaml.sampling.tasks import points, sample_space


def test_sample_space_covers_boxes_and_discretes_and_refuses_the_rest():
    box = gymnasium.spaces.Box(np.array([0.0, 10.0]), np.array([1.0, 11.0]), dtype=np.float64)
    drawn = sample_space(box, 500, generator(1))
    assert all(box.contains(point) for point in drawn)
    assert np.ptp(drawn, axis=0).min() > 0.9
    whole = gymnasium.spaces.Box(0, 2, (1,), np.int64)
    assert set(sample_space(whole, 99, generator(1)).ravel()) == {0, 1, 2}
    assert set(sample_space(gymnasium.spaces.Discrete(3, start=5), 99, generator(1))) == {5, 6, 7}
    with pytest.raises(ValueError, match="unbounded"):
        sample_space(gymnasium.spaces.Box(-np.inf, np.inf, (1,)), 1, generator(0))
    with pytest.raises(ConfigError, match="sample_tasks"):
        sample_space(gymnasium.spaces.Text(3), 1, generator(0))
    with pytest.raises(ConfigError, match="unbounded"):
        sample_space(gymnasium.spaces.Box(-1.7e308, 1.7e308, (1,), np.float64), 1, generator(0))


def test_points_of_composed_spaces_are_drawn_part_by_part_and_made_of_numbers():
    spaces = gymnasium.spaces
    inner = spaces.Dict(b=spaces.MultiDiscrete([2, 3], start=[5, 0]), a=spaces.Discrete(2))
    space = spaces.Tuple((spaces.Box(0, 1, (2, 1)), inner, spaces.MultiBinary(2)))
    drawn = sample_space(space, 99, generator(1))
    assert all(space.contains(task) for task in drawn)
    assert {int(task[1]["b"][0]) for task in drawn} == {5, 6}
    (point,) = points(space, (0.5, 0.25, 6, 2, 1, 0, 1))
    assert plain(point) == [[[0.5], [0.25]], {"b": [6, 2], "a": 1}, [0, 1]]
    with pytest.raises(ConfigError, match="7 numbers for each"):
        points(space, (0.5, 0.25, 6, 2, 1, 0, 0.5))
    with pytest.raises(ConfigError, match="no point of the task space"):
        points(space, (0.5, 0.25, 9, 2, 1, 0, 1))
    with pytest.raises(ConfigError, match="not made of them"):
        points(spaces.Tuple((spaces.Text(3),)), (1,))


def test_a_task_as_a_plain_value_comes_back_from_json_as_it_is():
    class Own:
        pass

    task = {
        **{"number": np.float32(0.5), "many": np.arange(3), "word": np.str_("left"), 3: True},
        **{"pair": (1, None), "bytes": b"\x80", "own": Own(), "long": bytes(99)},
    }
    value = plain(task)
    assert json.loads(json.dumps(value)) == value
    assert (value["3"], value["many"], value["pair"]) == (True, [0, 1, 2], [1, "None"])
    assert " at 0x" not in value["own"]
    assert value["long"] != plain(bytes(98) + b"1")
    (back,) = numbers_or_objects([value])
    assert plain(back) == value
    assert numbers_or_objects([[1, 2], [3, 4]]).shape == (2, 2)
    assert numbers_or_objects([[1, 2], [3]]).shape == (2,)
    assert text("a\nb " * 99) == "a b " * 14 + "..."


def test_equal_tasks_are_equal_in_their_parts():
    one = {"goal": np.array([1.0, np.nan]), "name": ("a", b"b")}
    assert same(one, {"goal": np.array([1.0, np.nan]), "name": ("a", b"b")})
    assert not same(one, {"goal": np.array([1.0, 2.0]), "name": ("a", b"b")})
    assert not same(one, {**one, "more": 1})
    assert not same(object(), object())
    assert same([1, 2], np.array([1.0, 2.0]))
