"""Independence of what the user's program has set in torch: types, devices, modes of gradients."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


_SHAPES_ALONE: ContextVar[bool] = ContextVar("shapes_alone", default=False)


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Make tensors that have shapes and no values, which take no memory."""
    token = _SHAPES_ALONE.set(True)
    try:
        with torch.device("meta"):
            yield
    finally:
        _SHAPES_ALONE.reset(token)


@contextlib.contextmanager
def plain_defaults() -> Iterator[None]:
    """Make tensors as float32 on the CPU where nothing else is said, as torch does by itself.

    For layers and optimizers of torch, which make tensors that nobody can name a type for.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    if _SHAPES_ALONE.get() or (dtype == torch.float32 and device.type == "cpu"):
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def differentiating(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function differentiate wherever it is called, under `torch.no_grad` too."""

    @functools.wraps(function)
    def enabled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return enabled


def making_tensors(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function make ordinary tensors, which can be differentiated later, and no graph."""

    @functools.wraps(function)
    def outside(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with torch.inference_mode(False), torch.no_grad():
            return function(*args, **kwargs)

    return outside
