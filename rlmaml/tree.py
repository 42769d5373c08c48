"""Arithmetic on trees of tensors: dicts, tuples and NamedTuples, however nested.

`torch.func` sees these and more: a list or None is a leaf here. Written out, because these run
dozens of times per meta-iteration, and with PyTorch's own Python versions an iteration of a small
network took about a tenth longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Tree = TypeVar("Tree")
"""A tree of tensors; results have the type, and the structure, of the argument."""

Rest = ParamSpec("Rest")


def map(function: Callable[..., Tensor], tree: Tree, *others: object) -> Tree:
    """Apply a function to every leaf.

    Args:
        function: (leaf, *leaves in the same positions of `others`) -> leaf.
        tree: the tree.
        others: trees of the same structure.
    """
    return _map(function, tree, *others)


def _map(function: Callable[..., Tensor], tree: Any, *others: Any) -> Any:
    if isinstance(tree, dict):
        return {
            name: _map(function, value, *[other[name] for other in others])
            for name, value in tree.items()
        }
    if isinstance(tree, tuple):
        values = [_map(function, *row) for row in zip(tree, *others, strict=True)]
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return function(tree, *others)


def leaves(tree: Any) -> list[Tensor]:
    """The leaves, in order."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, tuple):
        return [tree]
    return [leaf for branch in tree for leaf in leaves(branch)]


def ravel(tree: Tree) -> tuple[Tensor, Callable[[Tensor], Tree]]:
    """Lay a tree of tensors out as one vector.

    Returns:
        The vector [P], and the way back from such a vector to a tree, which keeps shapes and
        order; it is differentiable and works under `vmap`.

    Raises:
        ValueError: a tree without a tensor.
    """
    values = leaves(tree)
    if not values:
        raise ValueError("Cannot ravel an empty tree: it holds no tensor.")
    shapes = [value.shape for value in values]
    sizes = [value.numel() for value in values]

    def unravel(vector: Tensor) -> Tree:
        pieces = iter(vector.split(sizes))
        remaining = iter(shapes)
        return map(lambda _: next(pieces).view(next(remaining)), tree)

    return torch.cat([value.reshape(-1) for value in values]), unravel


def chunks(stacked: Tree, size: int | None) -> Iterator[Tree]:
    """Split a tree whose leaves are [N, ...] into trees of at most `size` tasks."""
    total = leaves(stacked)[0].shape[0]
    if size is None or size >= total:
        yield stacked
        return
    for first in range(0, total, size):
        yield map(lambda leaf, first=first: leaf[first : first + size], stacked)


def repeat(tree: Tree, count: int) -> Tree:
    """The same tree for `count` tasks: leaves [...] become views [count, ...]."""
    return map(lambda leaf: leaf.expand(count, *leaf.shape), tree)


def to(tree: Tree, device: torch.device | str) -> Tree:
    """Move every tensor of a tree."""
    return map(lambda leaf: leaf.to(device), tree)


def ordinary(tree: Tree) -> Tree:
    """A tree whose tensors can be differentiated: copies of those of `torch.inference_mode`."""
    return map(lambda leaf: leaf.clone() if leaf.is_inference() else leaf, tree)


def grad(
    function: Callable[Concatenate[Tree, Rest], Tensor],
) -> Callable[Concatenate[Tree, Rest], Tree]:
    """The gradient of a scalar function with respect to its first argument, a tree.

    It is `torch.func.grad`, with the type of what it returns.
    """
    return cast(Callable[Concatenate[Tree, Rest], Tree], torch.func.grad(function))
