"""Few-shot classification of texts: as token ids, from your own files or from any lists."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from .classification import HeldOutClasses, split_classes
from .examples import Examples
from .folders import files, subfolders
from .tasks import Split, check_split

PADDING, UNKNOWN = 0, 1
"""Token ids: of what is after the end of a text, and of words outside the vocabulary."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_TABLES = {".csv": ",", ".tsv": "\t"}
_LAYOUTS = (
    "Understood are a folder root/class/*.txt or root/{train,val,test}/class/*.txt, a text to a "
    "file, and a file .csv, .tsv or .jsonl with a label and a text in each row"
)


class TextError(ValueError):
    """A folder or a file that few-shot tasks cannot be made of; the message names it."""


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
        ValueError: splits or numbers that are none.
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
        places = np.repeat(np.arange(len(self._counts)), self._counts)
        return self._tokens[np.isin(places, members)]

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

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """`n` tasks, `[n, way]`: distinct classes of the split, in random order.

        Raises:
            ValueError: the split has no classes, or is none.
        """
        return self._sample_classes(n, rng, split)

    def check(self, tasks: ArrayLike, count: int) -> NDArray[Any]:
        """As in `Tasks`, and no class of texts twice in one task."""
        checked = super().check(tasks, count)
        self._check_distinct(checked)
        return checked

    def describe(self, task: NDArray[Any]) -> str:
        return ", ".join(self._names[k] for k in np.asarray(task).tolist())

    def draw_inputs(
        self, tasks: NDArray[Any], labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        return self._tokens[self._any(np.take_along_axis(tasks, labels, axis=1), rng)]

    def episode(
        self, tasks: NDArray[Any], shots: int, queries: int, rng: np.random.Generator
    ) -> tuple[Examples, Examples]:
        """As in `ClassTasks`; no text comes twice, in the support or in the query set.

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


def text_files(
    root: str | Path,
    way: int = 5,
    length: int = 32,
    vocabulary: int = 4000,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.64, 0.16, 0.2),
    label: str = "label",
    text: str = "text",
) -> TextTasks:
    """Few-shot tasks from texts in files, in UTF-8.

    `root` is a folder with a folder of .txt files for each class, a text to a file, which may stand
    in folders `train`, `val` (or `validation`) and `test`; or one file, .csv or .tsv with the
    columns' names in its first row, or .jsonl with an object a line. Without such folders classes
    are divided by `fractions`. Texts that several classes have are left out, and of those that a
    class has twice one stays. Hidden files, and those of other kinds, are left out.

    Args:
        root: the folder or file.
        way: classes of a task.
        length: as in `TextTasks`.
        vocabulary: as in `TextTasks`.
        split_seed: of the division into splits.
        fractions: of train, validation and test.
        label: the column, or the key, with the name of a row's class.
        text: that with its text.

    Raises:
        TextError: nothing there, an unknown layout, a file or row that cannot be read, a text
            without words, a class without texts, or a split with fewer classes than `way`.
    """
    root = Path(root)
    if len(fractions) != 3 or min(fractions) < 0 or not fractions[0] > 0:
        raise ValueError(f"fractions are those of train, validation and test, got {fractions!r}")
    if not root.exists():
        raise TextError(f"{root} is missing; root is where the texts are. {_LAYOUTS}")
    splits: dict[str, tuple[int, ...]] | None = None
    if root.is_dir():
        classes, splits = _in_folders(root)
    elif root.suffix.lower() in _TABLES:
        classes = _by_label(root, _table(root, _TABLES[root.suffix.lower()], label, text))
    elif root.suffix.lower() == ".jsonl":
        classes = _by_label(root, _json_lines(root, label, text))
    else:
        raise TextError(f"{root} is of another kind. {_LAYOUTS}")
    kept = distinct(classes)
    for name, texts in kept.items():
        if not texts:
            raise TextError(
                f"{root}: class {name} has no text that no other class has; remove it, or what "
                "is the same in others"
            )
    splits = splits or split_classes(len(kept), fractions, split_seed)
    check_ways(str(root), splits, len(kept), way, fractions)
    return TextTasks(kept, splits, way, length, vocabulary)


def check_ways(
    where: str,
    splits: Mapping[str, Sequence[int]],
    count: int,
    way: int,
    fractions: Sequence[float],
) -> None:
    """Whether every split, unless it is empty, has `way` classes; there are `count` in all.

    Raises:
        TextError: one has fewer; `where` says what has.
    """
    for split in get_args(Split):
        members = splits.get(split, ())
        if len(members) < way and (members or split == "train"):
            raise TextError(
                f"{where} has {len(members)} class(es) to {split}, of {count} in all: fewer than "
                f"way={way}. Add classes, choose a smaller way, or leave the split empty; where "
                f"no folders say which class is in which split, fractions={tuple(fractions)} do"
            )


def _in_folders(
    root: Path,
) -> tuple[dict[str, list[str]], dict[str, tuple[int, ...]] | None]:
    """The texts of each class, and the splits where folders say them."""
    inside = subfolders(root)
    given = {folder.name for folder in inside}
    if not ("train" in given and given <= set(_SPLITS) and subfolders(root / "train")):
        # A folder of folders of folders is some other layout; one empty class is a mistake.
        if not any(files(folder, (".txt",)) for folder in inside):
            raise TextError(f"{root} has no folders with .txt files in them. {_LAYOUTS}")
        return {folder.name: _texts(folder) for folder in inside}, None
    classes: dict[str, list[str]] = {}
    splits: dict[str, tuple[int, ...]] = {}
    for folder in inside:
        split = _SPLITS[folder.name]
        if split in splits:
            raise TextError(f"{root} has both 'val' and 'validation'; keep one of them")
        first = len(classes)
        for member in subfolders(folder):
            classes[f"{folder.name}/{member.name}"] = _texts(member)
        splits[split] = tuple(range(first, len(classes)))
    return classes, splits


def _texts(folder: Path) -> list[str]:
    texts = [_checked(_read(path), str(path)) for path in files(folder, (".txt",))]
    if not texts:
        raise TextError(f"the class folder {folder} has no .txt files; add some, or remove it")
    return texts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(
            f"{path} cannot be read as text in UTF-8 ({error}); save it anew, or remove it"
        ) from error


def _checked(text: str, where: str) -> str:
    if not words(text):
        raise TextError(f"{where} has no words in it; write some, or remove it")
    return text


_Row = tuple[str, object, object]
"""Where it stands, its label and its text."""


def _table(path: Path, delimiter: str, label: str, text: str) -> list[_Row]:
    # A quote that is left open would swallow the rest of a .tsv, which seldom quotes.
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    lines = _read(path).splitlines(keepends=True)
    reader = csv.DictReader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    done = 0
    try:
        columns = list(reader.fieldnames or ())
        for name in (label, text):
            if name not in columns:
                raise TextError(
                    f"{path} has the columns {columns}, {name!r} is not among them: name them in "
                    "its first row, or pass label='...' and text='...'"
                )
        rows: list[_Row] = []
        for row in reader:
            done = reader.line_num
            where = f"{path}, line {done}"
            if None in row:
                raise TextError(
                    f"{where} has more fields than the {len(columns)} columns {columns}: put texts "
                    "with a delimiter in them in quotes (.csv), or use .jsonl"
                )
            rows.append((where, row[label], row[text]))
    except csv.Error as error:
        raise TextError(f"{path}, in the row after line {done}: {error}") from error
    return rows


def _json_lines(path: Path, label: str, text: str) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TextError(f"{where} is no JSON ({error})") from error
        if not isinstance(row, dict) or label not in row or text not in row:
            raise TextError(
                f"{where} is no object with the keys {label!r} and {text!r}: write one a line, or "
                "pass label='...' and text='...'"
            )
        rows.append((where, row[label], row[text]))
    return rows


def _by_label(path: Path, rows: list[_Row]) -> dict[str, list[str]]:
    """The texts of each class; classes in the order of their names."""
    classes: dict[str, list[str]] = {}
    for where, label, text in rows:
        numbered = isinstance(label, int) and not isinstance(label, bool)
        name = str(label) if numbered else label
        if not isinstance(name, str) or not name.strip():
            raise TextError(f"{where} has the label {label!r}; write the name of a class")
        if not isinstance(text, str):
            raise TextError(f"{where} has the text {text!r}; write one")
        classes.setdefault(name.strip(), []).append(_checked(text, where))
    if not classes:
        raise TextError(f"{path} has no rows with texts. {_LAYOUTS}")
    return dict(sorted(classes.items()))
