"""Sets of labeled examples: which are shared, which are apart, and what they are made from."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.examples import ClassLabels, ExampleSampler, TaskInputs
from rlmaml.types import InputsWithStatistics
from tests.helpers.problems import Waves

KEY = (0, 3, 7)


def sets(sampler, steps=2, tasks=3):
    points = sampler.family.sample(tasks, generator(0))
    roles = [*(("support", k) for k in range(steps)), ("hessian", 0), ("query", steps)]
    return [sampler({}, points, KEY, role, k) for role, k in roles]


def test_all_inner_steps_share_a_set_and_the_query_set_is_another():
    first, second, _, query = sets(ExampleSampler(Waves(), shots=4, queries=5))
    assert first.inputs is second.inputs
    assert (first.inputs.shape, query.targets.shape) == ((3, 4, 1), (3, 5, 1))
    assert not torch.isin(first.inputs, query.inputs).any()
    points = Waves().sample(3, generator(0))
    (x, y), (query_x, _) = Waves().episode(points, 4, 5, generator(*KEY))  # one draw, by the key
    for found, expected in ((first.inputs, x), (first.targets, y), (query.inputs, query_x)):
        np.testing.assert_array_equal(found.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("fresh", [0, 2])
@pytest.mark.parametrize("separate", [False, True])
def test_sets_on_request_are_apart(fresh, separate):
    how = {"fresh_support": fresh, "separate_hessian": separate, "dtype": torch.float64}
    first, second, hessian, query = sets(ExampleSampler(Waves(), shots=4, queries=5, **how))
    assert (first.inputs is second.inputs) == (not fresh)
    apart = [first, query, *([second] if fresh else []), *([hessian] if separate else [])]
    drawn = torch.cat([data.inputs.flatten() for data in apart])
    assert drawn.dtype == torch.float64
    assert len(drawn.unique()) == len(drawn) == 3 * (4 * (1 + bool(fresh) + separate) + 5)


def test_the_reference_is_the_support_set():
    support, *_, query = sets(ExampleSampler(Waves(), shots=4, queries=5, reference=True))
    assert isinstance(query.inputs, InputsWithStatistics)
    assert torch.equal(query.inputs.reference, support.inputs)


class Scarce(Waves):
    def check_episode(self, shots, queries):
        if shots > 6:
            raise ValueError(f"no {shots} shots")


def test_bad_numbers_are_refused():
    for shots, queries in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="at least 1, got 0"):
            ExampleSampler(Waves(), shots=shots, queries=queries)
    with pytest.raises(ConfigError, match=r"^no 7 shots"):
        ExampleSampler(Scarce(), shots=7, queries=1)
    with pytest.raises(ConfigError, match="takes 2 times its 4 shots: no 8 shots"):
        ExampleSampler(Scarce(), shots=4, queries=1, separate_hessian=True)


def test_an_oracle_has_the_task_beside_every_input():
    shown, plain = TaskInputs(Waves()), Waves()
    tasks = shown.sample(3, generator(0))
    both = (family.episode(tasks, 4, 5, generator(1)) for family in (shown, plain))
    for (x, y), (plain_x, plain_y) in zip(*both, strict=True):
        np.testing.assert_array_equal(x[..., 2:], plain_x)
        np.testing.assert_array_equal(y, plain_y)
        assert (x[:, :, :2] == tasks[:, None].astype(np.float32)).all()
    assert shown.inputs.shape == (3,)
    images = Waves()
    images.inputs = Box(0, 1, (1, 4, 4))
    with pytest.raises(ConfigError, match="beside a vector"):
        TaskInputs(images)


def test_a_family_without_classes_has_no_labels_of_its_own():
    with pytest.raises(ConfigError, match="but Waves has no `class_count`"):
        ClassLabels(Waves())
