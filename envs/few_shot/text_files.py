"""Few-shot tasks from texts in your own files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from .classes import check_ways, split_classes
from .folders import check_fractions, files, number_splits, split_folders, subfolders
from .text import TextError, TextTasks, distinct, words

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LARGEST = 2**30
"""Bytes of a file at most."""
_LAYOUTS = (
    "It may be a folder root/class/*.txt or root/{train,val,test}/class/*.txt, a text to a "
    "file, and a file .csv, .tsv or .jsonl with a label and a text in each row"
)


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
        TextError: a missing file or folder, an unknown layout, a file or row that cannot be read,
            a text without words, a class without texts, or a split with fewer classes than `way`.
    """
    root = Path(root)
    fractions = check_fractions(fractions)
    if not root.exists():
        raise TextError(f"{root} is missing; root is where the texts are. {_LAYOUTS}")
    splits: dict[str, tuple[int, ...]] | None = None
    if not root.is_dir() and not root.is_file():
        raise TextError(f"{root} is neither a folder nor a file. {_LAYOUTS}")
    if root.is_dir():
        classes, splits = _in_folders(root)
    elif root.suffix.lower() in _DELIMITERS:
        classes = _by_label(root, _table(root, _DELIMITERS[root.suffix.lower()], label, text))
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
    check_ways(str(root), splits, len(kept), way, fractions, TextError)
    return TextTasks(kept, splits, way, length, vocabulary)


def _in_folders(
    root: Path,
) -> tuple[dict[str, list[str]], dict[str, tuple[int, ...]] | None]:
    """The texts of each class, and the splits where folders say them."""
    given = split_folders(root, TextError)
    if given is not None:
        classes = {
            f"{folder.parent.name}/{folder.name}": _texts(folder)
            for members in given.values()
            for folder in members
        }
        return classes, number_splits(given)
    folders = subfolders(root)
    # A folder of folders of folders is some other layout; one empty class is a mistake.
    if not any(files(folder, (".txt",)) for folder in folders):
        raise TextError(f"{root} has no folders with .txt files in them. {_LAYOUTS}")
    return {folder.name: _texts(folder) for folder in folders}, None


def _texts(folder: Path) -> list[str]:
    texts = [_checked(_read(path), str(path)) for path in files(folder, (".txt",))]
    if not texts:
        raise TextError(f"the class folder {folder} has no .txt files; add some, or remove it")
    return texts


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise OSError(f"it has more than {_LARGEST:,} bytes")
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
"""Place in the file, label and text."""


def _table(path: Path, delimiter: str, label: str, text: str) -> list[_Row]:
    # A quote that is left open would swallow the rest of a .tsv, which seldom quotes.
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    rows_end_at_newlines = io.StringIO(_read(path), newline="")  # other separators are text
    reader = csv.DictReader(rows_end_at_newlines, delimiter=delimiter, quoting=quoting, strict=True)
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
        except (ValueError, RecursionError) as error:  # and numbers of too many digits
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
