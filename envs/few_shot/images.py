"""N-way K-shot classification of images from arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from ..core.tasks import Split
from .base import Examples
from .classes import HeldOutClasses, split_classes


class Images(ABC):
    """Images of K classes, read when they are asked for.

    Image i of class k has the index `counts[:k].sum() + i`.
    """

    names: Sequence[str]
    """Names of the classes."""
    counts: NDArray[np.int64]
    """Number of images of each class, `[K]`."""
    shape: tuple[int, int, int]
    """Shape of one image: channels, height, width."""
    error: type[ValueError] = ValueError
    """The error that is raised where images are missing or broken."""

    def describe(self, k: int) -> str:
        """Class k, in an error message."""
        return f"class {self.names[k]}"

    @abstractmethod
    def read(self, indices: NDArray[np.int64]) -> np.ndarray:
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

    def read(self, indices: NDArray[np.int64]) -> np.ndarray:
        return self._images[indices]


def _image_array(k: int, images: ArrayLike) -> np.ndarray:
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
        """Number of classes to tell apart in training; one that is turned counts as four."""
        return super().class_count * (4 if self._rotations else 1)

    def class_labels(self, tasks: ArrayLike) -> NDArray[np.int64]:
        """The number, below `class_count`, of each class of training tasks `[n, way, 2]`."""
        chosen = np.asarray(tasks)
        labels = super().class_labels(chosen[..., 0])
        return labels * (4 if self._rotations else 1) + chosen[..., 1]

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """`n` tasks, `[n, way, 2]`: distinct classes of the split, in random order.

        Raises:
            ValueError: an unknown split, or one without classes.
        """
        tasks = np.zeros((n, self.way, 2), dtype=np.int64)
        tasks[..., 0] = self._sample_classes(n, rng, split)
        if self._rotations and split == "train":
            tasks[..., 1] = rng.integers(4, size=(n, self.way))
        return tasks

    def check(self, tasks: ArrayLike, count: int) -> np.ndarray:
        """Check as `Tasks` does, and refuse a class of images that is twice in one task."""
        checked = super().check(tasks, count)
        self._check_distinct(checked[..., 0])
        return checked

    def _class(self, k: int) -> str:
        return self._images.describe(k)

    def draw_inputs(
        self, tasks: np.ndarray, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        chosen = tasks[np.arange(len(tasks))[:, None], labels]
        return self._take(self._any(chosen[..., 0], rng), chosen[..., 1])

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """Draw as `ClassTasks` does; no image comes twice, in the support or in the query set.

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
        images: np.ndarray = self._images.read(indices.ravel())
        turned = turns.ravel()
        for quarters in (1, 2, 3):
            rows = np.flatnonzero(turned == quarters)
            if rows.size:
                images[rows] = np.rot90(images[rows], quarters, axes=(2, 3))
        if images.dtype == np.uint8:
            images = images / np.float32(255)
        return images.reshape(*indices.shape, *images.shape[1:])


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
    return FewShotTasks(_digit_images(), split_classes(10, sizes, split_seed), way, rotations)


@cache
def _digit_images() -> list[NDArray[np.float32]]:
    """The images of each digit, [n, 8, 8] in 0 .. 1, read once."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits are scikit-learn's, which is not installed: pip install 'rlmaml[digits]'"
        ) from error
    data: Any = load_digits()
    images = (data.images / 16).astype(np.float32)
    return [images[data.target == digit] for digit in range(10)]
