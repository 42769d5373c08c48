"""Trees of tensors."""

import pytest
import torch

from rlmaml import tree


def test_ravel_round_trips_and_keeps_order():
    value = {"a": torch.randn(2, 3), "b": {"c": torch.randn(4)}}
    flat, unravel = tree.ravel(value)
    assert flat.shape == (10,)
    back = unravel(flat)
    assert torch.equal(back["a"], value["a"])
    assert torch.equal(back["b"]["c"], value["b"]["c"])
    with pytest.raises(ValueError, match="empty tree"):
        tree.ravel({})
