"""Modules as functions of their parameters."""

import pytest
import torch
from torch.func import functional_call

from rlmaml import models


def test_a_module_with_buffers_is_refused():
    module = torch.nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="buffers"):
        models.parameters(module)


def test_functional_models_take_any_leading_shape():
    model = models.RegressionMLP(3, 2)
    x = torch.randn(4, 5, 3)
    out = functional_call(model, dict(model.named_parameters()), (x,))
    assert out.mean.shape == (4, 5, 2)
    assert (out.log_std == 0).all()
