"""Modules as functions of their parameters."""

import pytest
import torch
from torch.func import functional_call

from rlmaml import MAML, models


def test_a_module_with_buffers_is_refused():
    module = torch.nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="buffers"):
        models.parameters(module)


def test_parameters_that_are_frozen_are_left_out():
    model = models.RegressionMLP(3, 2, models.PolicyConfig(hidden=(4,)))
    model.mean[0].requires_grad_(False)
    assert list(models.parameters(model)) == ["mean.2.weight", "mean.2.bias"]
    x = torch.randn(4, 5, 3)
    policy, params = models.functional(model), models.parameters(model)
    assert torch.equal(policy(params, x).mean, model(x).mean)
    assert (policy({name: 0 * value for name, value in params.items()}, x).mean == 0).all()
    model.requires_grad_(False)  # as an adapted one
    assert list(models.parameters(model)) == [name for name, _ in model.named_parameters()]
    with pytest.raises(ValueError, match="RegressionMLP has no parameter to learn"):
        MAML(models.functional(model))


def test_what_is_no_module_with_parameters_is_refused():
    with pytest.raises(ValueError, match="got the class RegressionMLP: call the class"):
        models.functional(models.RegressionMLP)
    with pytest.raises(ValueError, match="A model must be an nn"):
        models.parameters(lambda params, inputs: inputs)
    with pytest.raises(ValueError, match=r"0.weight, 0.bias have no shape yet"):
        models.parameters(torch.nn.Sequential(torch.nn.LazyLinear(2)))


def test_leading_dimensions_that_a_module_does_not_take_are_made_one():
    class OfRows(models.RegressionMLP):
        def forward(self, inputs):
            assert inputs.ndim == 2
            return super().forward(inputs)

    module, x = OfRows(3, 2), torch.randn(4, 5, 3)
    policy, params = models.functional(module), models.parameters(module)
    policy.attempt((3,), 4)
    found = policy(params, x)
    assert torch.equal(found.mean.flatten(0, 1), module(x.flatten(0, 1)).mean)
    assert found.log_std.shape == (4, 5, 2)


def test_a_module_is_tried_once_and_again_in_another_mode():
    class Counted(models.RegressionMLP):
        calls = 0

        def forward(self, inputs):
            self.calls += 1
            return super().forward(inputs)

    module, x = Counted(3, 2), torch.randn(5, 3)
    policy, params = models.functional(module), models.parameters(module)
    policy(params, x)
    tried = module.calls
    policy(params, x)
    assert module.calls == tried + 1
    module.eval()
    policy(params, x)
    assert module.calls == 2 * tried + 1


def test_what_a_trial_does_not_know_fails_in_earnest():
    class Failing(models.RegressionMLP):
        def forward(self, inputs):
            raise KeyError("what its author said")

    module = Failing(3, 2)
    with pytest.raises(KeyError, match="what its author said"):
        models.functional(module)(models.parameters(module), torch.randn(5, 3))


def test_functional_models_take_any_leading_shape():
    model = models.RegressionMLP(3, 2)
    x = torch.randn(4, 5, 3)
    out = functional_call(model, dict(model.named_parameters()), (x,))
    assert out.mean.shape == (4, 5, 2)
    assert (out.log_std == 0).all()
