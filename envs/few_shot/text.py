"""Few-shot classification of texts as token ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from ..core.tasks import Split, check_split
from .base import Examples
from .classes import HeldOutClasses

PADDING, UNKNOWN = 0, 1
"""Token ids: of what is after the end of a text, and of words outside the vocabulary."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class TextError(ValueError):
    """Texts that few-shot tasks cannot be made of; the message names file and line."""


def words(text: str) -> list[str]:
    """The words of a text, lower-cased: letters and digits, with apostrophes between them."""
    return _WORD.findall(text.lower())


class TextTasks(HeldOutClasses):
    """N-way K-shot classification of texts: tell `way` classes apart by a few texts of each.

    A task is an integer array `[way]`: which class of texts each of its classes is. Inputs are
    token ids, int64 `[length]`: 0 is padding, after the last word; 1 is any word outside the
    vocabulary.

    Args:
        classes: the texts of each class, by the class's name.
        splits: the classes, by their place in `classes`, of "train", "validation" and "test",
            without a class in common. Those left out, or empty, are refused when tasks of them
            are asked for.
        way: classes of a task.
        length: words of a text at most; the first are kept.
        vocabulary: token ids at most, the two above included. They go to the most frequent words
            of the texts of the training classes; words as frequent in alphabetical order.

    Raises:
        TextError: a class without texts, or a text without words.
        ValueError: invalid splits, or a number out of range.
    """

    _noun = "text"
    error = TextError

    def __init__(
        self,
        classes: Mapping[str, Sequence[str]],
        splits: Mapping[str, Sequence[int]],
        way: int = 5,
        length: int = 32,
        vocabulary: int = 4000,
    ) -> None:
        if length < 1:
            raise ValueError(f"length is {length}; a text has at least one word")
        if vocabulary < 3:
            raise ValueError(
                f"vocabulary is {vocabulary}; it has a word beside the padding and the unknown"
            )
        if not classes:
            raise TextError("there are no classes; pass the texts of each, by its name")
        spelt = {name: _spelt(name, texts, length) for name, texts in classes.items()}
        counts = np.array([len(texts) for texts in spelt.values()])
        self._divide(list(spelt), counts, splits, way)
        of_class = list(spelt.values())
        seen = Counter(word for k in self._splits["train"] for text in of_class[k] for word in text)
        common = sorted(seen, key=lambda word: (-seen[word], word))[: vocabulary - 2]
        self._words = ["", "?", *common]
        self._ids = {word: i for i, word in enumerate(common, 2)}
        self._length = length
        self._tokens = self._numbers([text for texts in of_class for text in texts])
        self.space = spaces.Box(0, len(counts) - 1, (way,), dtype=np.int64)
        self.default = self._splits["train"][:way]
        self.inputs = spaces.Box(0, len(self._words) - 1, (length,), dtype=np.int64)

    @property
    def vocabulary(self) -> list[str]:
        """The word of each token id; of the first two, which are no words, "" and "?"."""
        return list(self._words)

    @property
    def fingerprint(self) -> str:
        """A digest of the texts, their classes, the splits and the vocabulary.

        Other texts make another vocabulary, whose ids mean other words.
        """
        about = [self._names, self._counts.tolist(), self.splits, self._words]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        digest.update(self._tokens.astype("<i8").tobytes())
        return digest.hexdigest()

    def texts(self, split: Split) -> NDArray[np.int64]:
        """All texts of the classes of a split, as token ids, `[M, length]`."""
        members = self._splits[check_split(split)]
        class_of = np.repeat(np.arange(len(self._counts)), self._counts)
        return self._tokens[np.isin(class_of, members)]

    def encode(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Texts as token ids, `[B, length]`, for a predictor that learned from this family.

        Raises:
            TypeError: one text instead of several.
        """
        if isinstance(texts, str):
            raise TypeError(f"encode takes a list of texts, got the text {texts[:40]!r}")
        return self._numbers([words(text) for text in texts])

    def _numbers(self, spelt: list[list[str]]) -> NDArray[np.int64]:
        tokens = np.full((len(spelt), self._length), PADDING, dtype=np.int64)
        for row, text in zip(tokens, spelt, strict=True):
            kept = text[: self._length]
            row[: len(kept)] = [self._ids.get(word, UNKNOWN) for word in kept]
        return tokens

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """`n` tasks, `[n, way]`: distinct classes of the split, in random order.

        Raises:
            ValueError: an unknown split, or one without classes.
        """
        return self._sample_classes(n, rng, split)

    def check(self, tasks: ArrayLike, count: int) -> np.ndarray:
        """Check as `Tasks` does, and refuse a class of texts that is twice in one task."""
        checked = super().check(tasks, count)
        self._check_distinct(checked)
        return checked

    def describe(self, task: np.ndarray) -> str:
        return ", ".join(self._names[k] for k in np.asarray(task).tolist())

    def draw_inputs(
        self, tasks: np.ndarray, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        return self._tokens[self._any(np.take_along_axis(tasks, labels, axis=1), rng)]

    def episode(
        self, tasks: np.ndarray, shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """Draw as `ClassTasks` does; no text comes twice, in the support or in the query set.

        Raises:
            TextError: a class has fewer texts than shots and queries together.
        """
        self._check_size(shots, queries)
        n, count, cut = len(tasks), shots + queries, shots * self.way
        inputs = self._tokens[self._apart(tasks, count, rng).reshape(n, -1)]
        labels = self.balanced(n, count)
        return (inputs[:, :cut], labels[:, :cut]), (inputs[:, cut:], labels[:, cut:])


def _spelt(name: str, texts: Sequence[str], length: int) -> list[list[str]]:
    """The first words of the texts of a class."""
    if not len(texts):
        raise TextError(f"class {name} has no texts; add some, or leave it out")
    spelt = [words(text)[:length] for text in texts]
    if not all(spelt):
        raise TextError(f"text {spelt.index([])} of class {name} has no words in it; leave it out")
    return spelt


def distinct(classes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The classes without the texts that several have, and without those that one has again.

    Such a text would be of two classes at once, or be adapted to and judged on. Texts of the same
    words are the same.
    """
    home: dict[tuple[str, ...], str | None] = {}
    for name, texts in classes.items():
        for text in texts:
            spelt = tuple(words(text))
            home[spelt] = name if home.get(spelt, name) == name else None
    kept: dict[str, list[str]] = {}
    for name, texts in classes.items():
        once = {tuple(words(text)): text for text in reversed(texts)}
        kept[name] = [text for spelt, text in reversed(once.items()) if home[spelt] == name]
    return kept
