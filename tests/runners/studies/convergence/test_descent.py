"""Counting iterations along a descent, and the recorded update."""

import pytest
import torch

from runners.studies.convergence import stalling
from runners.studies.convergence.descent import exponent, first_below, repeated, update
from runners.studies.convergence.problems import Cosines, full_batch


def test_the_exponent_of_a_power_law_with_a_start():
    precisions = 2.0 ** -torch.arange(6, dtype=torch.float64)
    assert exponent(precisions, 100 * precisions**-1.7 + 50) == pytest.approx(1.7)
    norms = torch.tensor([4.0, 2.0, 3.0, 1.0])
    assert first_below(norms, torch.tensor([5.0, 2.0, 1.5, 0.5])).tolist() == [0, 1, 3, -1]


@pytest.mark.parametrize("name", ["maml", "fo-maml", "hf-maml"])
def test_a_recorded_update_is_the_update_to_the_bit(name):
    family = stalling.two(Cosines)
    objective, batch = family.objective(name, 0.1), full_batch(family)
    recorded = repeated(objective, torch.zeros(1, dtype=torch.float64), batch, 1000)
    for w in torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]:
        assert torch.equal(recorded(w), update(objective, w, batch))
