"""Returns and advantages of padded episodes: against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmaml.returns import (
    discounted_sum,
    episode_mean,
    generalized_advantages,
    masked_mean,
    normalize,
    reduce,
)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 10_000))
def test_advantages_against_a_plain_loop(b, t, seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.standard_normal((2, b, t))
    lengths = rng.integers(1, t + 1, b)
    mask = (np.arange(t) < lengths[:, None]).astype(float)
    final = rng.standard_normal(b) * rng.integers(0, 2, b)
    expected = np.zeros((b, t))
    for i in range(b):
        carry = 0.0
        for s in reversed(range(lengths[i])):
            following = final[i] if s == lengths[i] - 1 else values[i, s + 1]
            carry = rewards[i, s] + 0.9 * following - values[i, s] + 0.9 * 0.8 * carry
            expected[i, s] = carry
    ours = generalized_advantages(
        *(torch.from_numpy(x * mask) for x in (rewards, values)),
        torch.from_numpy(mask),
        discount=0.9,
        gae_lambda=0.8,
        final_values=torch.from_numpy(final),
    )
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


def test_lambda_one_is_the_return_minus_the_baseline():
    rewards, values = torch.randn(2, 3, 6, dtype=torch.float64)
    ones = torch.ones_like(rewards)
    advantages = generalized_advantages(rewards, values, ones, discount=0.9, gae_lambda=1.0)
    torch.testing.assert_close(advantages, discounted_sum(rewards, 0.9) - values)


def test_normalized_advantages_have_mean_0_and_std_1_over_valid_steps():
    mask = (torch.arange(9) < torch.tensor([[9], [4], [1]])).double()
    x = 5 + 3 * torch.randn(3, 9, dtype=torch.float64)
    y = normalize(x, mask)
    valid = y[mask > 0].numpy()
    assert abs(valid.mean()) < 1e-12
    assert abs(valid.std() - 1) < 1e-6
    assert not y[mask == 0].any()
    torch.testing.assert_close(normalize(torch.where(mask > 0, x, 1e9), mask), y)


def test_masked_mean_of_nothing_is_zero():
    assert masked_mean(torch.ones(3), torch.zeros(3)) == 0


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("length", [1, 2, 500])
def test_discounted_sum_is_its_recursion(length, discount):
    x = torch.randn(3, length, dtype=torch.float64)
    carry, expected = torch.zeros(3, dtype=torch.float64), torch.empty_like(x)
    for t in reversed(range(length)):
        expected[:, t] = carry = x[:, t] + discount * carry
    torch.testing.assert_close(discounted_sum(x, discount), expected, atol=1e-11, rtol=1e-11)


def test_the_mean_over_episodes_leaves_out_rows_of_padding():
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]])
    x = torch.tensor([2.0, 4.0, 7.0, 9.0])
    assert episode_mean(x, mask) == 3.0
    steps = torch.arange(12.0).view(4, 3)
    assert reduce(steps, mask, "episodes") == ((0 + 1) + (3 + 4 + 5)) / 2
    assert reduce(steps, mask, "steps") == (0 + 1 + 3 + 4 + 5) / 5
    assert episode_mean(x, torch.zeros(4, 3)) == 0
