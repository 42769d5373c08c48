"""Arithmetic on trees of tensors, as `torch.func` sees them (dicts, tuples, NamedTuples)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

map = pytree.tree_map
leaves = pytree.tree_leaves


def ravel(tree: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Lay a tree of tensors out as one vector [P], and return the way back.

    The way back keeps shapes and order; it is differentiable and works under `vmap`.
    """
    values, spec = pytree.tree_flatten(tree)
    if not values:
        raise ValueError("Cannot ravel an empty tree: it holds no tensor.")
    shapes = [value.shape for value in values]
    sizes = [value.numel() for value in values]

    def unravel(vector: Tensor) -> Any:
        pieces = vector.split(sizes)
        return pytree.tree_unflatten(
            [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)], spec
        )

    return torch.cat([value.reshape(-1) for value in values]), unravel


def chunks(stacked: Any, size: int | None) -> Iterator[Any]:
    """Split a tree whose leaves are [N, ...] into trees of at most `size` tasks."""
    total = leaves(stacked)[0].shape[0]
    step = size or total
    for first in range(0, total, step):
        yield map(lambda leaf, first=first: leaf[first : first + step], stacked)


def repeat(tree: Any, count: int) -> Any:
    """The same tree for `count` tasks: leaves [...] become views [count, ...]."""
    return map(lambda leaf: leaf.expand(count, *leaf.shape), tree)


def to(tree: Any, device: torch.device | str) -> Any:
    """Move every tensor of a tree."""
    return map(lambda leaf: leaf.to(device), tree)
