"""Modules as functions of their parameters."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.func import functional_call

from rlmaml.distributions import Distribution
from rlmaml.errors import ConfigError
from rlmaml.types import Inputs, Params, Policy


@dataclass(frozen=True)
class Functional:
    """A module as a function of its parameters, a `Policy`."""

    module: nn.Module

    def __call__(self, params: Params, inputs: Inputs) -> Distribution:
        return functional_call(self.module, params, (inputs,))


def functional(model: nn.Module) -> Policy:
    """Make a module a function of its parameters."""
    return Functional(model)


def parameters(model: nn.Module) -> Params:
    """A copy of a module's parameters, by name, cut off from the module.

    Raises:
        ConfigError: a module with buffers, such as running statistics.
    """
    if any(True for _ in model.buffers()):
        names = [name for name, _ in model.named_buffers()]
        raise ConfigError(
            f"The model has buffers ({', '.join(names)}), which meta-learning would share "
            "silently between tasks. Make them parameters or constants."
        )
    return {name: value.detach().clone() for name, value in model.named_parameters()}
