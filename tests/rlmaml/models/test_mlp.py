"""Multilayer perceptrons: how they begin, and what they refuse."""

import pytest
import torch

from rlmaml import models


@pytest.mark.parametrize("make", [models.GaussianMLP, models.CategoricalMLP, models.RegressionMLP])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_the_output_gain_scales_the_last_layers_weights_alone(make, hidden):
    found = []
    for gain in (1.0, 0.01):
        torch.manual_seed(0)
        config = models.PolicyConfig(hidden=hidden, output_gain=gain)
        found.append(models.parameters(make(3, 2, config)))
    plain, scaled = found
    last = models.layers(plain)[-1] + ".weight"
    for name, value in plain.items():
        torch.testing.assert_close(scaled[name], (0.01 if name == last else 1.0) * value)
    assert plain[last].abs().max() > 0.1


def test_a_gaussians_standard_deviation_begins_where_it_is_told_and_has_a_floor():
    config = models.PolicyConfig(hidden=(4,), init_log_std=-1.5, min_log_std=-1.0)
    module = models.GaussianMLP(3, 2, config)
    assert module.log_std.tolist() == [-1.5, -1.5]
    assert module(torch.zeros(5, 3)).log_std.unique().tolist() == [-1.0]


def test_widths_below_one_are_refused():
    with pytest.raises(ValueError, match=r"policy.hidden needs widths of at least 1"):
        models.PolicyConfig(hidden=(4, 0))
