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
    inputs, mask = Examples(x, y).spread(fraction)
    assert torch.equal(inputs, x[:count])
    assert mask.tolist() == [1.0] * count
    reference = torch.ones(3, 2)
    part = Examples(InputsWithStatistics(x, reference), y).part(fraction)
    assert torch.equal(part.inputs.inputs, x[:count])
    assert part.inputs.reference is reference
    assert len(part.targets) == count


def numbered(episodes, horizon):
    """Episodes whose observations say which time step they are of."""
    data = one(random_batch(episodes=episodes, horizon=horizon)[2].query, 0)
    numbers = torch.arange(episodes * horizon).view(episodes, horizon)
    return data._replace(observations=numbers[..., None], mask=(numbers % horizon < 9) * 1.0)


@pytest.mark.parametrize(
    ("episodes", "horizon", "fraction", "shape"),
    [
        (4, 20, 0.1, (4, 2)),
        (4, 20, 0.24, (4, 5)),
        (4, 20, 1.0, (4, 20)),
        (20, 5, 0.1, (10, 1)),  # half a step of each: one of each second
        (20, 1, 0.1, (2, 1)),
        (6, 5, 0.5, (6, 2)),  # rounded down, and no more than all episodes
        (6, 5, 0.7, (5, 4)),
        (3, 1, 0.01, (1, 1)),
    ],
)
def test_states_are_spread_over_all_episodes_and_times(episodes, horizon, fraction, shape):
    data = numbered(episodes, horizon)
    inputs, mask = data.spread(fraction)
    assert inputs.shape == (*shape, 1)
    assert mask.shape == shape
    rows, times = inputs[..., 0] // horizon, inputs[..., 0] % horizon
    assert (rows == torch.arange(shape[0])[:, None]).all()
    assert torch.equal(mask, (times < 9) * 1.0)
    assert times[0, 0] == 0  # so that a task has one, however soon its episodes end
    assert len(inputs.unique()) == inputs.numel()
    if shape[1] > 1:
        gaps = times.diff(dim=1)
        assert gaps.min() >= int(horizon / shape[1])
        assert gaps.max() <= -int(-horizon // shape[1])
    elif shape[0] > horizon:
        assert len(times.unique()) == horizon


def test_no_time_is_past_the_end_however_many_episodes_there_are():
    inputs, _ = numbered(500, 10_000).spread(0.975)
    assert inputs.shape == (500, 9750, 1)
    assert (inputs[..., 0] // 10_000 == torch.arange(500)[:, None]).all()


def test_states_of_stacked_tasks_are_those_of_each():
    batch = random_batch(episodes=4, horizon=10)[2].query
    inputs, mask = torch.func.vmap(lambda data: data.spread(0.3))(batch)
    for i in range(len(mask)):
        alone = one(batch, i).spread(0.3)
        assert torch.equal(inputs[i], alone[0])
        assert torch.equal(mask[i], alone[1])


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
