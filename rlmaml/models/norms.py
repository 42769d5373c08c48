"""Norms with scale and shift apart, whose second derivatives are right for several tasks at once.

Under `vmap` torch 2.13 is off by a tenth and more, silently, in the second derivative of layer,
batch and instance norm in their input, but only of those that scale.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_OVER_ROWS = functional.batch_norm, functional.instance_norm
NORMS: dict[Callable[..., Any], inspect.Signature] = {
    function: inspect.signature(function) for function in (functional.layer_norm, *_OVER_ROWS)
}
"""Functions of torch that are taken apart."""


class NormsApart(TorchFunctionMode):
    """Computes torch's norms without scale and shift, and these after them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.layer_norm:  # as of `layer_norm`, with one argument more
            func = functional.layer_norm
            args, kwargs = (
                args[:5],
                {k: v for k, v in (kwargs or {}).items() if k != "cudnn_enable"},
            )
        if func not in NORMS:
            return func(*args, **(kwargs or {}))
        given = NORMS[func].bind(*args, **(kwargs or {})).arguments
        weight, bias = given.pop("weight", None), given.pop("bias", None)
        normal = func(**given)
        if func in _OVER_ROWS:
            weight, bias = _of_channels(weight, normal), _of_channels(bias, normal)
        if weight is not None:
            normal = normal * weight
        return normal if bias is None else normal + bias


def _of_channels(value: Tensor | None, like: Tensor) -> Tensor | None:
    """A value of each channel [C], to go with [B, C, ...]."""
    return None if value is None else value.view(-1, *[1] * (like.ndim - 2))
