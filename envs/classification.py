"""Classification tasks: a line through a square, and N-way K-shot images from arrays."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from .examples import ClassTasks, Examples
from .tasks import Split, check_split

_OFFSET = 0.5
_CANDIDATES = 8


class LinearClassificationTasks(ClassTasks):
    """Which side of a line: class 1 where cos(angle) x0 + sin(angle) x1 > offset, otherwise 0.

    Inputs are uniform on the square [-1, 1]². A task is [angle, offset], uniform on [0, 2π] and
    [-.5, .5], so that neither side is less than a fifth of the square. The splits are the same.
    """

    def __init__(self) -> None:
        self.space = spaces.Box(
            np.array([0.0, -_OFFSET]), np.array([2 * np.pi, _OFFSET]), dtype=np.float64
        )
        self.default = np.array([np.pi, 0.0])
        self.inputs = spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.outputs = spaces.Discrete(2)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        check_split(split)
        return rng.uniform((0.0, -_OFFSET), (2 * np.pi, _OFFSET), size=(n, 2))

    def draw_inputs(
        self, tasks: NDArray[Any], labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        wanted = labels.ravel() == 1
        angle, offset = np.repeat(tasks, labels.shape[1], axis=0).T
        normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        inputs = np.empty((len(wanted), 2), dtype=np.float32)
        missing = np.arange(len(wanted))
        # Uniform on the square until one falls on the right side: uniform on that side. Sides are
        # judged after the rounding to float32, so that no label is wrong beside the line.
        while missing.size:
            drawn = rng.uniform(-1.0, 1.0, (len(missing), _CANDIDATES, 2)).astype(np.float32)
            height = np.einsum("mci,mi->mc", drawn, normal[missing])
            right = (height > offset[missing, None]) == wanted[missing, None]
            first, found = right.argmax(axis=1), right.any(axis=1)
            inputs[missing[found]] = drawn[found, first[found]]
            missing = missing[~found]
        return inputs.reshape(*labels.shape, 2)


class Images(ABC):
    """Images of K classes, read when they are asked for.

    Image i of class k has the index `counts[:k].sum() + i`.
    """

    names: list[str]
    """Of the classes."""
    counts: NDArray[np.int64]
    """How many images each class has, `[K]`."""
    shape: tuple[int, int, int]
    """Of one image: channels, height, width."""
    error: type[ValueError] = ValueError
    """What is raised where images are missing or broken."""

    def describe(self, k: int) -> str:
        """Class k, in an error message."""
        return f"class {self.names[k]}"

    @abstractmethod
    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The images of these indices, `[m, *shape]`: uint8, or floats from 0 to 1. A copy."""


class _Arrays(Images):
    def __init__(self, classes: Sequence[ArrayLike]) -> None:
        if not len(classes):
            raise ValueError("there are no classes; pass one array of images for each")
        arrays = [_image_array(k, images) for k, images in enumerate(classes)]
        for k, array in enumerate(arrays):
            if array.shape[1:] != arrays[0].shape[1:] or array.dtype != arrays[0].dtype:
                raise ValueError(
                    f"class {k} has {array.dtype} images of shape {array.shape[1:]}, class 0 has "
                    f"{arrays[0].dtype} of {arrays[0].shape[1:]}; all must be alike"
                )
        self.names = [str(k) for k in range(len(arrays))]
        self.counts = np.array([len(array) for array in arrays])
        self.shape = arrays[0].shape[1:]
        self._images = np.concatenate(arrays)

    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        return self._images[indices]


def _image_array(k: int, images: ArrayLike) -> NDArray[Any]:
    """The images of class k as `[n, C, H, W]`, uint8 or float32."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not array.size:
        raise ValueError(
            f"class {k} has shape {array.shape}, expected images [n, H, W] or [n, C, H, W], n > 0"
        )
    if array.dtype == np.uint8:
        return array
    # Written so that NaN fails too.
    if array.dtype.kind != "f" or not (array.min() >= 0.0 and array.max() <= 1.0):
        raise ValueError(
            f"class {k} has {array.dtype} images from {array.min()} to {array.max()}; "
            "pass uint8, or floats from 0 to 1"
        )
    return array.astype(np.float32)


class HeldOutClasses(ClassTasks):
    """Tasks of `way` classes of a data set, whose classes belong to one split each.

    Example i of class k has the index `counts[:k].sum() + i`. Subclasses call `_divide` first, and
    say what a task is beside its classes, and what is read for the indices.
    """

    error: type[ValueError] = ValueError
    """What is raised where classes or examples are too few."""
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
        """Classes to tell apart in training."""
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

    def _check_distinct(self, classes: NDArray[Any]) -> None:
        """Whether no class, `[N, way]`, is twice in one task."""
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

    def _any(self, classes: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """The index of an example of each of the classes, independent."""
        return self._starts[classes] + rng.integers(self._counts[classes])

    def _apart(
        self, classes: NDArray[Any], count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """`count` examples of each of a task's classes `[N, way]`, none twice: their indices,
        `[N, count, way]`."""
        picks = _distinct(self._counts[classes].ravel(), count, rng)
        picks = picks.reshape(*classes.shape, count).transpose(0, 2, 1)
        return picks + self._starts[classes][:, None, :]


class FewShotTasks(HeldOutClasses):
    """N-way K-shot classification of images: tell `way` classes apart by a few images of each.

    A task is an integer array `[way, 2]`. Row c says what the task's class c is: the index of a
    class of images, and by how many quarter turns all its images are turned. Inputs are float32
    in [0, 1], `[C, H, W]`.

    Args:
        classes: the images of each class, `[n, H, W]` or `[n, C, H, W]`, uint8 or floats from 0
            to 1; or `Images`.
        splits: the classes of "train", "validation" and "test", without a class in common. Those
            left out, or empty, are refused when tasks of them are asked for.
        way: classes of a task.
        rotations: whether training tasks turn each class by 0 to 3 quarter turns, at random: four
            times as many classes. Those of other splits are never turned.
    """

    _noun = "image"

    def __init__(
        self,
        classes: Sequence[ArrayLike] | Images,
        splits: Mapping[str, Sequence[int]],
        way: int = 5,
        rotations: bool = True,
    ) -> None:
        self._images = classes if isinstance(classes, Images) else _Arrays(classes)
        self.error = self._images.error
        shape = self._images.shape
        if rotations and shape[1] != shape[2]:
            raise ValueError(
                f"images are {shape[1]} x {shape[2]} pixels; only square ones can be turned by "
                "quarters, pass rotations=False"
            )
        self._divide(self._images.names, self._images.counts, splits, way)
        self._rotations = rotations
        last = [len(self._counts) - 1, 3 if rotations else 0]
        self.space = spaces.Box(0, np.tile(last, (way, 1)), (way, 2), dtype=np.int64)
        self.default = np.stack([self._splits["train"][:way], np.zeros(way, np.int64)], axis=1)
        self.inputs = spaces.Box(0.0, 1.0, shape, dtype=np.float32)

    @property
    def class_count(self) -> int:
        """As of every family of classes; one that is turned counts as four."""
        return super().class_count * (4 if self._rotations else 1)

    def class_labels(self, tasks: ArrayLike) -> NDArray[np.int64]:
        """As of every family of classes, of tasks `[n, way, 2]`."""
        chosen = np.asarray(tasks)
        labels = super().class_labels(chosen[..., 0])
        return labels * (4 if self._rotations else 1) + chosen[..., 1]

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """`n` tasks, `[n, way, 2]`: distinct classes of the split, in random order.

        Raises:
            ValueError: the split has no classes, or is none.
        """
        tasks = np.zeros((n, self.way, 2), dtype=np.int64)
        tasks[..., 0] = self._sample_classes(n, rng, split)
        if self._rotations and split == "train":
            tasks[..., 1] = rng.integers(4, size=(n, self.way))
        return tasks

    def check(self, tasks: ArrayLike, count: int) -> NDArray[Any]:
        """As in `Tasks`, and no class of images twice in one task."""
        checked = super().check(tasks, count)
        self._check_distinct(checked[..., 0])
        return checked

    def _class(self, k: int) -> str:
        return self._images.describe(k)

    def draw_inputs(
        self, tasks: NDArray[Any], labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        chosen = tasks[np.arange(len(tasks))[:, None], labels]
        return self._take(self._any(chosen[..., 0], rng), chosen[..., 1])

    def episode(
        self, tasks: NDArray[Any], shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """As in `ClassTasks`; no image comes twice, in the support or in the query set.

        Raises:
            ValueError: a class has fewer images than shots and queries together.
        """
        self._check_size(shots, queries)
        n, count = len(tasks), shots + queries
        indices = self._apart(tasks[..., 0], count, rng)
        turns = np.broadcast_to(tasks[:, None, :, 1], indices.shape)
        inputs = self._take(indices.reshape(n, -1), turns.reshape(n, -1))
        labels = self.balanced(n, count)
        cut = shots * self.way
        return (inputs[:, :cut], labels[:, :cut]), (inputs[:, cut:], labels[:, cut:])

    def _take(self, indices: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images of `indices`, `[N, k]`, turned, `[N, k, C, H, W]`."""
        images: NDArray[Any] = self._images.read(indices.ravel())
        turned = turns.ravel()
        for quarters in (1, 2, 3):
            rows = np.flatnonzero(turned == quarters)
            if rows.size:
                images[rows] = np.rot90(images[rows], quarters, axes=(2, 3))
        if images.dtype == np.uint8:
            images = images / np.float32(255)
        return images.reshape(*indices.shape, *images.shape[1:])


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
        ValueError: sizes that are none.
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


def digits(
    way: int = 3,
    split_seed: int = 0,
    sizes: Sequence[float] = (4, 3, 3),
    rotations: bool = True,
) -> FewShotTasks:
    """Handwritten digits of 8 x 8 pixels, which scikit-learn brings along; 10 classes.

    Args:
        way: classes of a task.
        split_seed: which digits are for training, validation and test.
        sizes: how many of each.
        rotations: as in `FewShotTasks`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits are scikit-learn's, which is not installed: pip install 'rlmaml[digits]'"
        ) from error
    data: Any = load_digits()
    images = (data.images / 16).astype(np.float32)
    classes = [images[data.target == digit] for digit in range(10)]
    return FewShotTasks(classes, split_classes(10, sizes, split_seed), way, rotations)


def _check_splits(
    splits: Mapping[str, Sequence[int]], count: int, way: int
) -> dict[str, NDArray[np.int64]]:
    """All three splits as arrays of class indices, empty where none were given."""
    names = get_args(Split)
    unknown = sorted(set(splits) - set(names))
    if unknown:
        raise ValueError(f"unknown splits {unknown}; there are {', '.join(map(repr, names))}")
    checked = {name: np.array(splits.get(name, ()), dtype=np.int64) for name in names}
    home: dict[int, str] = {}
    for name, members in checked.items():
        if len(members) < way and (len(members) or name == "train"):
            raise ValueError(
                f"the {name} split has {len(members)} class(es), fewer than way={way}; give it "
                "more classes, or choose a smaller way"
            )
        for k in members.tolist():
            if not 0 <= k < count:
                raise ValueError(f"the {name} split has class {k}; classes are 0 to {count - 1}")
            if k in home:
                raise ValueError(
                    f"class {k} is in {home[k]} and in {name}; a class belongs to one split, once"
                )
            home[k] = name
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
