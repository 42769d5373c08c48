"""Modules as functions of their parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from rlmaml import tree
from rlmaml.distributions import Distribution, Gaussian, like
from rlmaml.errors import ConfigError
from rlmaml.models.mlp import is_as_made
from rlmaml.models.norms import NormsApart
from rlmaml.models.trial import Call, Traits, examine
from rlmaml.types import Inputs, Params, Policy


class Functional:
    """A module as a function of its parameters, a `Policy`.

    Parameters that it is not given, those with `requires_grad=False`, are constants of the module.
    The first call tries the module (`rlmaml.models.trial`).

    Raises:
        ConfigError: by a call, a module that cannot be meta-trained.
    """

    def __init__(self, module: nn.Module) -> None:
        _require_module(module)
        self.module = module
        self._tried: dict[tuple[bool, int], Traits] = {}  # by mode and dimensions of inputs
        self._input_dims: int | None = None  # of one input, if that is known
        self._frozen: list[tuple[str, Tensor]] = []
        self._moved: dict[tuple[str, torch.device], tuple[Any, Tensor]] = {}

    def __reduce__(self) -> tuple:
        return Functional, (self.module,)

    def __call__(self, params: Params, inputs: Inputs) -> Distribution:
        leaf = inputs if isinstance(inputs, Tensor) else inputs[0]
        traits = self._tried.get((self.module.training, leaf.ndim))
        if traits is None:
            traits = self._attempt(params, inputs, leaf.ndim)
        return self._calling(traits)(params, inputs)

    def attempt(self, shape: tuple[int, ...], rows: int) -> None:
        """Try the module on so many inputs of a shape, before there are any.

        Raises:
            ConfigError: a module that cannot be meta-trained.
        """
        own = {name: value.detach() for name, value in self.module.named_parameters()}
        own = {name: own[name] for name in _learned(self.module)} or own
        self._input_dims = len(shape)
        if own:
            first = next(iter(own.values()))
            inputs = torch.zeros(max(rows, 2), *shape, dtype=torch.float32, device=first.device)
            self._attempt(own, inputs, inputs.ndim)

    def _attempt(self, params: Params, inputs: Inputs, dims: int) -> Traits:
        self._frozen = [
            (name, value) for name, value in self.module.named_parameters() if name not in params
        ]
        leading = None if self._input_dims is None else dims - self._input_dims
        traits = Traits()
        if not _is_plain(self.module, params, inputs):
            traits = examine(self.module, self._calling, params, inputs, leading)
        self._tried[self.module.training, dims] = traits
        return traits

    def _calling(self, traits: Traits) -> Call:
        if traits == Traits():
            return self._plain

        def call(params: Params, inputs: Inputs) -> Distribution:
            leading = None
            if traits.flatten and isinstance(inputs, Tensor):
                leading = inputs.shape[: traits.flatten]
                inputs = inputs.flatten(0, traits.flatten - 1)
            with _without_fused_kernels(traits):
                if traits.decomposed:
                    output = self._decomposed(params, inputs)
                else:
                    output = self._plain(params, inputs)
            if traits.broadcast:
                mean, log_std = cast(Gaussian, output)
                log_std = torch.as_tensor(log_std, dtype=mean.dtype, device=mean.device)
                output = like(output, (mean, log_std.expand_as(mean)))
            if leading is not None:
                output = like(output, (field.unflatten(0, leading) for field in output))
            return output

        return call

    def _decomposed(self, params: Params, inputs: Inputs) -> Distribution:
        """Call the module for `vmap`, which knows recurrent layers only as what they consist of."""
        # They write into what they make of the parameters alone, which so has the data's tasks.
        zero = torch.stack([(0 * leaf).sum().double() for leaf in tree.leaves(inputs)]).sum()
        frozen = {name: value for name, value in self._frozen if value.is_floating_point()}
        params = {**frozen, **self._constants(params), **params}
        params = {name: value + zero.to(value.dtype) for name, value in params.items()}
        # Where something is differentiated operations are taken apart.
        return torch.func.vjp(lambda p: self._plain(p, inputs), params)[0]

    def _plain(self, params: Params, inputs: Inputs) -> Distribution:
        if self._frozen:
            params = {**self._constants(params), **params}
        return functional_call(self.module, params, (inputs,))

    def _constants(self, params: Params) -> Params:
        """Frozen parameters that are not where the others are, as they are needed there."""
        device = next(iter(params.values())).device
        needed = {}
        for name, value in self._frozen:
            if name in params or (value.device == device and not value.is_inference()):
                continue
            known, version = self._moved.get((name, device)), _version(value)
            if known is None or known[0] != version:
                if value.is_meta:
                    raise ConfigError(
                        f"The frozen parameter {name} is on the device meta and has no values: "
                        "load the module's parameters first."
                    )
                known = version, value.detach().to(device, copy=True)
                self._moved[name, device] = known
            needed[name] = known[1]
        return needed


def functional(model: nn.Module) -> Policy:
    """Make a module a function of its parameters, but for those with `requires_grad=False`."""
    return Functional(model)


def parameters(model: nn.Module) -> Params:
    """A copy of a module's parameters, by name, cut off from the module.

    Those with `requires_grad=False` are left out: they are constants of the module. Where all are
    frozen, as of a network that was adapted, it is all of them.

    Raises:
        ConfigError: a module with buffers, such as running statistics, or without parameters.
    """
    _require_module(model)
    if any(True for _ in model.buffers()):
        names = [name for name, _ in model.named_buffers()]
        raise ConfigError(
            f"The model has buffers ({', '.join(names)}), which meta-learning would share "
            "silently between tasks. Make them parameters or constants."
        )
    empty = [name for name, value in model.named_parameters() if is_lazy(value)]
    if empty:
        raise ConfigError(
            f"The model's {', '.join(empty)} have no shape yet: call the model once, on inputs of "
            "the right shape, before its parameters are taken."
        )
    with torch.inference_mode(False):
        learned = _learned(model) or dict(model.named_parameters())
        found = {name: value.detach().clone() for name, value in learned.items()}
    if not found:
        raise ConfigError(f"The model {type(model).__name__} has no parameter to learn.")
    return found


def check_learns(policy: object) -> None:
    """Check that a policy has something to learn, where that is known.

    Raises:
        ConfigError: a module of which all parameters are frozen.
    """
    if isinstance(policy, Functional) and not _learned(policy.module):
        raise ConfigError(
            f"The model {type(policy.module).__name__} has no parameter to learn: all of them are "
            "frozen (requires_grad=False), or there are none. Give some requires_grad_(True)."
        )


def _require_module(model: object) -> None:
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"{model!r}"
        raise ConfigError(
            f"A model must be an nn.Module that was made, got {what}: call the class. (A function "
            "of parameters and inputs is a policy as it is.)"
        )


def _is_plain(module: nn.Module, params: Params, inputs: Inputs) -> bool:
    """True if a module is one of our perceptrons, as it was made, and fits its inputs."""
    if type(module).__module__ != is_as_made.__module__ or not isinstance(inputs, Tensor):
        return False
    network = cast(nn.Sequential, getattr(module, "mean", None) or module.logits)
    return (
        is_as_made(module, network)
        and inputs.shape[-1] == cast(nn.Linear, network[0]).in_features
        and {value.dtype for value in params.values()} == {inputs.dtype}
    )


def _learned(model: nn.Module) -> Params:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


@contextlib.contextmanager
def _without_fused_kernels(traits: Traits) -> Iterator[None]:
    """Leave out kernels that cannot be differentiated twice."""
    with contextlib.ExitStack() as stack:
        if traits.norms:
            stack.enter_context(NormsApart())
        if traits.attention:
            fast = torch.backends.mha.get_fastpath_enabled()
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            torch.backends.mha.set_fastpath_enabled(False)
            stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        if traits.decomposed:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


def _version(value: Tensor) -> tuple:
    """A value that changes with a tensor's content."""
    return value.data_ptr(), 0 if value.is_inference() else value._version
