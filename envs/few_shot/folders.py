"""Folders of a user's data: hidden files and folders do not count."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def subfolders(folder: Path) -> list[Path]:
    """Folders right inside, in order of their names."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of the suffixes, in whatever case, in order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def split_folders(root: Path, error: type[ValueError]) -> dict[str, list[Path]] | None:
    """Folders of classes in `root/train`, `root/val` (or `validation`) and `root/test`, by split.

    None where `root` is laid out otherwise.

    Args:
        root: the folder.
        error: what to raise.

    Raises:
        error: both `val` and `validation`.
    """
    folders = subfolders(root)
    names = {folder.name for folder in folders}
    if not ("train" in names and names <= set(_SPLITS) and subfolders(root / "train")):
        return None
    _check_one(names, root, error)
    return {_SPLITS[folder.name]: subfolders(folder) for folder in folders}


def split_lists(folder: Path, suffix: str, error: type[ValueError]) -> dict[str, Path]:
    """Files `train`, `val` (or `validation`) and `test` of a suffix, those there are, by split.

    Args:
        folder: that they are in.
        suffix: with its dot.
        error: what to raise.

    Raises:
        error: both `val` and `validation`.
    """
    found = [name for name in _SPLITS if (folder / (name + suffix)).is_file()]
    _check_one(set(found), folder, error)
    return {_SPLITS[name]: folder / (name + suffix) for name in found}


def _check_one(names: set[str], place: Path, error: type[ValueError]) -> None:
    if {"val", "validation"} <= names:
        raise error(f"{place} has both 'val' and 'validation'; keep one of them")


def number_splits(members: Mapping[str, Sequence[object]]) -> dict[str, tuple[int, ...]]:
    """The classes of each split by number, counted through all splits."""
    splits: dict[str, tuple[int, ...]] = {}
    first = 0
    for split, classes in members.items():
        splits[split] = tuple(range(first, first + len(classes)))
        first += len(classes)
    return splits


def check_fractions(fractions: Sequence[float]) -> Sequence[float]:
    """Fractions that divide classes: whole numbers that are 1 and 0 are fractions too.

    Raises:
        ValueError: not three numbers of at least 0, of which the first is more.
    """
    given = list(fractions) if isinstance(fractions, Iterable) else []
    numbers = all(
        isinstance(part, Real) and not isinstance(part, bool) and math.isfinite(part)
        for part in given
    )
    if not numbers or len(given) != 3 or min(given) < 0 or not given[0] > 0:
        raise ValueError(f"fractions are those of train, validation and test, got {fractions!r}")
    return [float(part) for part in given] if sum(given) == 1 else fractions
