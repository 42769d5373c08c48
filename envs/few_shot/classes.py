"""Few-shot classification with held-out classes: what images and texts have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from ..core.tasks import Split, check_split
from .base import ClassTasks


class HeldOutClasses(ClassTasks):
    """Tasks of `way` classes of a data set, whose classes belong to one split each.

    Example i of class k has the index `counts[:k].sum() + i`. Subclasses call `_divide` first, and
    say what a task is beside its classes, and what is read for the indices.
    """

    error: type[ValueError] = ValueError
    """The error that is raised where classes or examples are too few."""
    _noun = "example"

    def _divide(
        self,
        names: Sequence[str],
        counts: NDArray[np.int64],
        splits: Mapping[str, Sequence[int]],
        way: int,
    ) -> None:
        """Take over the classes, their sizes `[K]` and their splits.

        Raises:
            ValueError: splits that overlap, name a class there is not, or are too small.
        """
        if way < 2:
            raise ValueError(f"way is {way}; a task has at least 2 classes")
        self._names, self._counts = list(names), counts
        self._splits = _check_splits(splits, len(counts), way)
        self._starts = np.cumsum(counts) - counts
        self._fewest = counts[np.concatenate(list(self._splits.values()))].min()
        self.outputs = spaces.Discrete(way)

    @property
    def names(self) -> list[str]:
        """A name for each class of the data, by its index."""
        return list(self._names)

    @property
    def splits(self) -> dict[str, tuple[int, ...]]:
        """The classes of each split."""
        return {split: tuple(members.tolist()) for split, members in self._splits.items()}

    @property
    def fingerprint(self) -> str:
        """A digest of which classes are in which split and how many examples each has.

        A folder that gained a class is divided anew, and what was held out may be no more.
        """
        about = {
            split: [(self._names[k], int(self._counts[k])) for k in members]
            for split, members in self.splits.items()
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def class_count(self) -> int:
        """Number of classes to tell apart in training."""
        return len(self._splits["train"])

    def class_labels(self, tasks: ArrayLike) -> NDArray[np.int64]:
        """The number, below `class_count`, of each class of training tasks, `[n, way]`.

        Raises:
            ValueError: a class is not one of training.
        """
        members, chosen = self._splits["train"], np.asarray(tasks)
        order = np.full(len(self._counts), -1)
        order[members] = np.arange(len(members))
        labels = order[chosen]
        if (labels < 0).any():
            raise ValueError(
                f"class {chosen[labels < 0][0]} is not of the train split; only classes of "
                "training have labels of their own"
            )
        return labels

    def _sample_classes(self, n: int, rng: np.random.Generator, split: Split) -> NDArray[np.int64]:
        """Distinct classes of the split in random order, `[n, way]`."""
        members = self._splits[check_split(split)]
        if not members.size:
            raise self.error(
                f"there are no {split} classes to sample tasks of; give that split at least "
                f"way={self.way} classes"
            )
        return members[_distinct(np.full(n, len(members)), self.way, rng)]

    def _check_distinct(self, classes: np.ndarray) -> None:
        """Refuse classes, `[N, way]`, of which one is twice in a task."""
        ordered = np.sort(classes, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        if twice.any():
            first = int(np.argmax(twice))
            raise ValueError(
                f"task {first} has the classes {classes[first].tolist()}, one of them more "
                "than once; sample_tasks(n, rng) draws distinct ones"
            )

    def check_episode(self, shots: int, queries: int) -> None:
        """Refuse an episode that cannot be drawn, before the first one is.

        Raises:
            ValueError: a number below 1, or a class with fewer examples than both together.
        """
        super().check_episode(shots, queries)
        self._check_size(shots, queries)

    def _check_size(self, shots: int, queries: int) -> None:
        if shots + queries <= self._fewest:
            return
        members = np.sort(np.concatenate(list(self._splits.values())))
        k = int(members[np.argmax(self._counts[members] < shots + queries)])
        raise self.error(
            f"{self._class(k)} has {self._counts[k]} {self._noun}(s), fewer than "
            f"{shots} shots + {queries} queries = {shots + queries}; ask for fewer, or leave the "
            "class out"
        )

    def _class(self, k: int) -> str:
        """Class k, in an error message."""
        return f"class {self._names[k]}"

    def _any(self, classes: np.ndarray, rng: np.random.Generator) -> NDArray[np.int64]:
        """The index of an example of each of the classes, independent."""
        return self._starts[classes] + rng.integers(self._counts[classes])

    def _apart(
        self, classes: np.ndarray, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """`count` examples of each of a task's classes `[N, way]`, none twice: their indices,
        `[N, count, way]`."""
        picks = _distinct(self._counts[classes].ravel(), count, rng)
        picks = picks.reshape(*classes.shape, count).transpose(0, 2, 1)
        return picks + self._starts[classes][:, None, :]


def split_classes(
    count: int,
    sizes: Sequence[float] = (0.64, 0.16, 0.2),
    seed: int = 0,
) -> dict[str, tuple[int, ...]]:
    """The classes 0, ..., count - 1 divided at random into train, validation and test.

    Args:
        count: classes.
        sizes: of the three splits: integers that add up to `count`, or fractions that add up
            to 1, of which the training split takes up the rounding.
        seed: of the division.

    Raises:
        ValueError: invalid sizes.
    """
    given = np.asarray(sizes)
    if given.shape != (3,) or given.dtype.kind not in "if" or not (given >= 0).all():
        raise ValueError(f"sizes are those of train, validation and test, got {sizes!r}")
    if given.dtype.kind == "f":
        if abs(given.sum() - 1.0) > 1e-6:
            raise ValueError(f"sizes are fractions that add up to 1, got {sizes!r}")
        validation, test = np.round(given[1:] * count).astype(int)
        test = min(test, count - validation)
        given = np.array([count - validation - test, validation, test])
    if given.sum() != count:
        raise ValueError(f"sizes {sizes!r} add up to {given.sum()}, but there are {count} classes")
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, np.cumsum(given)[:2])
    return dict(zip(get_args(Split), (tuple(np.sort(p).tolist()) for p in parts), strict=True))


def check_ways(
    where: str,
    splits: Mapping[str, Sequence[int]],
    count: int,
    way: int,
    fractions: Sequence[float],
    error: type[ValueError],
) -> None:
    """Refuse a split that is neither empty nor has `way` classes.

    Args:
        where: what has the classes, for the message.
        splits: the classes of each.
        count: of all classes.
        way: classes of a task.
        fractions: by which classes were divided.
        error: what to raise.

    Raises:
        error: a split has fewer classes than `way`.
    """
    for split in get_args(Split):
        members = splits.get(split, ())
        if len(members) < way and (members or split == "train"):
            raise error(
                f"{where} has {len(members)} class(es) to {split}, of {count} in all: fewer than "
                f"way={way}. Add classes, choose a smaller way, or leave the split empty; where "
                f"no folders say which class is in which split, fractions={tuple(fractions)} do"
            )


def _check_splits(
    splits: Mapping[str, Sequence[int]], count: int, way: int
) -> dict[str, NDArray[np.int64]]:
    """All three splits as arrays of class indices, empty where none were given."""
    names = get_args(Split)
    unknown = sorted(set(splits) - set(names))
    if unknown:
        raise ValueError(f"unknown splits {unknown}; there are {', '.join(map(repr, names))}")
    checked = {name: np.array(splits.get(name, ()), dtype=np.int64) for name in names}
    split_of: dict[int, str] = {}
    for name, members in checked.items():
        if len(members) < way and (len(members) or name == "train"):
            raise ValueError(
                f"the {name} split has {len(members)} class(es), fewer than way={way}; give it "
                "more classes, or choose a smaller way"
            )
        for k in members.tolist():
            if not 0 <= k < count:
                raise ValueError(f"the {name} split has class {k}; classes are 0 to {count - 1}")
            if k in split_of:
                raise ValueError(
                    f"class {k} is in {split_of[k]} and in {name}; "
                    "a class belongs to one split, once"
                )
            split_of[k] = name
    return checked


def _distinct(sizes: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` distinct integers below `sizes[r]` in random order, for each r, `[R, count]`."""
    chosen = np.empty((len(sizes), count), dtype=np.int64)
    # Floyd's algorithm, for all rows at once: every set is as likely, at `count` draws a row.
    for i in range(count):
        last = sizes - count + i
        drawn = rng.integers(last + 1)
        taken = (chosen[:, :i] == drawn[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, last, drawn)
    return rng.permuted(chosen, axis=1)
