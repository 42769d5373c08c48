"""The shapes of predictors."""

import gymnasium
import numpy as np
import pytest

from rlmaml.models.spec import PredictorSpec

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        (Box(-1, 1, (3,)), Box(-1, 1, (2,)), PredictorSpec((3,), None, 2, False)),
        (Box(-1, 1, (3,)), Discrete(5), PredictorSpec((3,), None, 5, True)),
        (Box(0, 1, (1, 8, 8)), Discrete(3), PredictorSpec((1, 8, 8), None, 3, True)),
        (Box(0, 9, (4,), np.int64), Discrete(2), PredictorSpec((4,), 10, 2, True)),
        (Box(-1, 1, (3,)), Box(-1, 1, (2, 3)), PredictorSpec((3,), None, 6, False)),
        (Box(-1, 1, (3,)), Box(-1, 1, ()), PredictorSpec((3,), None, 1, False)),
    ],
)
def test_shapes_are_those_of_the_spaces(inputs, outputs, expected):
    assert PredictorSpec.of_spaces(inputs, outputs) == expected


def test_the_space_of_a_target_leads_back_to_the_spec():
    classes = PredictorSpec((3,), None, 4, True)
    numbers = PredictorSpec((3,), None, 4, False)
    assert classes.outputs == Discrete(4)
    assert numbers.outputs.shape == (4,)
    assert numbers.outputs.contains(np.full(4, 1e30, np.float32))  # no bounds
    for spec in (classes, numbers):
        assert PredictorSpec.of_spaces(Box(-1, 1, (3,)), spec.outputs) == spec


def test_sizes_are_plain_integers_that_a_checkpoint_can_keep():
    spec = PredictorSpec.of_spaces(Box(-1, 1, (np.int64(3),)), Discrete(np.int64(5)))
    assert type(spec.output_size) is int
