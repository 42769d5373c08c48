"""Parts and masks of the data that flow through the library."""

import pytest
import torch

from rlmaml import tree
from rlmaml.types import Examples, InputsWithStatistics
from tests.helpers.problems import one, random_batch


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.5, 2), (0.7, 3), (1.0, 4)])
def test_a_part_of_episodes_is_the_first_of_them_in_every_leaf(fraction, count):
    episodes = one(random_batch()[2].query, 0)
    part = episodes.part(fraction)
    assert isinstance(part, type(episodes))
    for mine, whole in zip(tree.leaves(part), tree.leaves(episodes), strict=True):
        assert torch.equal(mine, whole[:count])


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.5, 2), (1.0, 4)])
def test_a_part_of_examples_keeps_the_whole_reference(fraction, count):
    x, y = torch.arange(8.0).view(4, 2), torch.arange(4)
    plain = Examples(x, y).part(fraction)
    assert torch.equal(plain.inputs, x[:count])
    assert torch.equal(plain.targets, y[:count])
    reference = torch.ones(3, 2)
    part = Examples(InputsWithStatistics(x, reference), y).part(fraction)
    assert torch.equal(part.inputs.inputs, x[:count])
    assert part.inputs.reference is reference
    assert len(part.targets) == count


def test_no_example_is_padding():
    x = torch.ones(4, 2, dtype=torch.float64)
    for inputs in (x, InputsWithStatistics(x, torch.ones(9, 2))):
        mask = Examples(inputs, torch.zeros(4)).mask
        assert mask.tolist() == [1.0] * 4
        assert mask.dtype == torch.float64


def test_masks_of_token_ids_are_floats():
    ids = torch.ones(4, 7, dtype=torch.long)
    assert Examples(ids, torch.zeros(4, dtype=torch.long)).mask.dtype == torch.float32
    assert Examples(torch.ones(4, 2).double(), torch.zeros(4)).mask.dtype == torch.float64


def test_episodes_are_seen_by_their_observations():
    episodes = random_batch()[2].query
    assert episodes.inputs is episodes.observations
