"""A sampler that turns tasks into labeled examples: supervised few-shot learning."""

from __future__ import annotations

from typing import Protocol

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, flatdim
from torch import Tensor

from rlmaml import processes
from rlmaml.errors import ConfigError
from rlmaml.models.text import token_count
from rlmaml.rng import Key, generator
from rlmaml.sampling.faults import require_finite_examples
from rlmaml.sampling.vector_env import flat
from rlmaml.types import Examples, InputsWithStatistics, Params, Role

Labeled = tuple[np.ndarray, np.ndarray]
"""Inputs [N, B, *x] and targets [N, B, *y]."""


class Family(Protocol):
    """A family of supervised tasks.

    `check_episode(shots, queries)` is optional: it raises a ValueError where the family cannot
    supply that many.
    """

    @property
    def inputs(self) -> gymnasium.Space:
        """The space of one input."""
        ...

    @property
    def outputs(self) -> gymnasium.Space:
        """The space of one target: Discrete in classification, else a Box."""
        ...

    def sample(self, n: int, rng: np.random.Generator, split: str = "train") -> np.ndarray:
        """n tasks [n, ...]; `split` is train, validation or test."""
        ...

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Labeled, Labeled]:
        """A support set and a query set, disjoint, for each of the tasks [N, ...].

        Where targets are classes, `shots` and `queries` count examples per class, and classes take
        turns, so that any first part of a set is balanced.
        """
        ...


class FamilyWithSpace(Family, Protocol):
    """A family whose tasks are points of a space."""

    @property
    def space(self) -> gymnasium.Space: ...


class ClassFamily(Family, Protocol):
    """A family of classifications that knows the classes of training."""

    @property
    def class_count(self) -> int:
        """The number of classes in training."""
        ...

    def class_labels(self, tasks: np.ndarray) -> np.ndarray:
        """The label [n, way] of each class of training tasks [n, ...]."""
        ...


class _Wrapped:
    """A family that is another one but for what a subclass defines."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self.sample = family.sample

    def __getattr__(self, name: str) -> object:
        return getattr(self._family, name)


class TaskInputs(_Wrapped):
    """A family whose inputs begin with their task, [*task, *input] as one vector: an oracle's.

    Args:
        family: with `inputs`, `outputs` and a `space` of tasks.

    Raises:
        ConfigError: a family whose inputs are no vectors.
    """

    def __init__(self, family: FamilyWithSpace) -> None:
        shape = family.inputs.shape or ()
        if len(shape) != 1:
            raise ConfigError(
                f"{type(family).__name__} has inputs of shape {shape}: a task can "
                "be shown beside a vector alone."
            )
        if token_count(family.inputs) is not None:
            raise ConfigError(
                f"{type(family).__name__} has token ids as inputs: a task can be shown beside a "
                "vector alone."
            )
        super().__init__(family)
        size = flatdim(family.space) + shape[0]
        self._space, self.outputs = family.space, family.outputs
        self.inputs = Box(-np.inf, np.inf, (size,))

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Labeled, Labeled]:
        shown = flat(self._space, tasks).astype(np.float32)
        sets = self._family.episode(tasks, shots, queries, rng)

        def show(inputs: np.ndarray) -> np.ndarray:
            beside = np.broadcast_to(shown[:, None], (*inputs.shape[:2], shown.shape[1]))
            return np.concatenate([beside, inputs], -1)

        (x, y), (query_x, query_y) = sets
        return (show(x), y), (show(query_x), query_y)


class ClassLabels(_Wrapped):
    """A family of classifications whose classes have one label each, the same in all tasks.

    Where a task numbers its classes at random, a model of all tasks together has nothing to learn
    from their labels, but it has from these. Tasks of held-out classes keep their own labels, which
    are the first of the outputs.

    Args:
        family: with `class_count`, how many classes there are in training, and
            `class_labels(tasks)`, the label [n, way] of each class of training tasks [n, ...].
        relabel: whether tasks are those of training; otherwise only the outputs are.

    Raises:
        ConfigError: a family that does not know its classes.
    """

    def __init__(self, family: ClassFamily, relabel: bool = True) -> None:
        outputs = family.outputs
        if not (hasattr(family, "class_count") and isinstance(outputs, Discrete)):
            raise ConfigError(
                "Training on classes under labels of their own (algorithm_settings.classes) "
                f"needs tasks made of classes, but {type(family).__name__} has no `class_count` "
                "and `class_labels(tasks)`: leave it out."
            )
        super().__init__(family)
        self._classes, self._relabel, self.inputs = family, relabel, family.inputs
        self.outputs = Discrete(max(int(family.class_count), int(outputs.n)))

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Labeled, Labeled]:
        (x, y), (query_x, query_y) = self._family.episode(tasks, shots, queries, rng)
        if self._relabel:
            labels = self._classes.class_labels(tasks)
            y, query_y = (np.take_along_axis(labels, own, 1) for own in (y, query_y))
        return (x, y), (query_x, query_y)


class ExampleSampler:
    """Draws a support and a query set for each of N tasks.

    They do not depend on the parameters: inner steps learn from the same support set unless told
    otherwise, and `collect` has no need to adapt.

    Args:
        family: the tasks.
        shots: support examples per task (classification: per class).
        queries: query examples per task (classification: per class).
        separate_hessian: draw as many examples as `shots` once more, disjoint from the others, for
            the derivative of the inner steps.
        fresh_support: draw as many sets of `shots`, disjoint, one for each of so many inner steps;
            0 is one set for all.
        reference: hand the support inputs over with the query inputs, as `InputsWithStatistics`,
            for a model whose batch norm is not to see the other queries.
        device: where the examples go.
        dtype: of inputs and of targets that are not classes.

    Raises:
        ConfigError: numbers below one, or more than the family can supply.
    """

    on_policy = False

    def __init__(
        self,
        family: Family,
        *,
        shots: int,
        queries: int,
        separate_hessian: bool = False,
        fresh_support: int = 0,
        reference: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        for name, count in (("shots", shots), ("queries", queries)):
            if count < 1:
                raise ConfigError(f"{name} must be at least 1, got {count}.")
        self._sets = max(fresh_support, 1)
        parts = self._sets + separate_hessian
        check = getattr(family, "check_episode", None)
        if check is not None:
            try:
                check(shots * parts, queries)
            except ValueError as problem:
                if parts == 1:
                    raise ConfigError(str(problem)) from problem
                raise ConfigError(
                    "With examples of its own for the Hessian or for each inner step, a task "
                    f"takes {parts} times its {shots} shots: {problem}"
                ) from problem
        self.family, self.shots, self.queries = family, shots, queries
        self._name = type(getattr(family, "_family", family)).__name__
        self.separate_hessian = separate_hessian
        self.reference, self.device, self.dtype = reference, torch.device(device), dtype
        self._last: tuple[Key, np.ndarray, list[Examples], Examples] | None = None

    def __call__(
        self, params: Params, tasks: np.ndarray, key: Key, role: Role = "query", step: int = 0
    ) -> Examples:
        """The support set, that for its derivatives, or the query set.

        Args:
            params: not looked at.
            tasks: [N, ...].
            key: what is drawn derives from it and the tasks alone, so the sets of one key belong
                together.
            role: which of them.
            step: inner steps taken so far; they share a set unless each has a fresh one.

        Raises:
            EnvironmentFault: examples that are not finite.

        Returns:
            Examples with leaves [N, B, ...], on `device`.
        """
        last = self._last
        if last is None or last[0] != key or not np.array_equal(last[1], tasks):
            parts = self._sets + self.separate_hessian
            everyone = processes.all_rows(tasks)
            drawn = self.family.episode(everyone, self.shots * parts, self.queries, generator(*key))
            own = processes.share(len(everyone))
            (x, y), (query_x, query_y) = (
                tuple(self._tensor(array[own]) for array in pair) for pair in drawn
            )
            require_finite_examples(x, y, self._name, "support")
            require_finite_examples(query_x, query_y, self._name, "query")
            count = y.shape[1] // parts  # classes take turns, so every part is balanced
            pieces = zip(x.split(count, 1), y.split(count, 1), strict=True)
            query_inputs = (
                InputsWithStatistics(query_x, x[:, :count]) if self.reference else query_x
            )
            query = Examples(query_inputs, query_y)
            self._last = last = (key, tasks.copy(), [Examples(*piece) for piece in pieces], query)
        if role == "query":
            return last[3]
        return last[2][-1 if role == "hessian" else min(step, self._sets - 1)]

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor
