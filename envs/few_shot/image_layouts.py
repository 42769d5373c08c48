"""Layouts that folders of few-shot images have: a function each, and a row of `LAYOUTS`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from .classes import split_classes
from .folders import files, number_splits, split_folders, split_lists, subfolders

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
"""Of images, in whatever case."""
KNOWN = (
    "It may be root/class/*.png; root/{train,val,test}/class/*.png; Omniglot's "
    "root/images_background/alphabet/character/*.png with root/images_evaluation beside it; "
    "root/{train,val,test}.csv of filename,label with the files in root/images; or "
    "root/data/class/*.png with the names of classes in root/splits/NAME/{train,val,test}.txt; "
    f"images end in {', '.join(sorted(SUFFIXES))}"
)
"""All layouts, for errors."""


class ImageFolderError(ValueError):
    """A folder or a file that few-shot tasks cannot be made of; the message names it."""


class ImageClass(NamedTuple):
    """A class of images.

    Attributes:
        name: below the root.
        place: its folder, or the file that lists its images.
        images: their files.
    """

    name: str
    place: Path
    images: list[Path]


Splits = dict[str, tuple[int, ...]]
"""Classes of each split, by number."""
Found = tuple[list[ImageClass], Splits]


def read(root: Path, split_seed: int, fractions: Sequence[float]) -> Found:
    """The classes in a folder, and those of each split.

    Args:
        root: the folder.
        split_seed: divides classes where the layout does not.
        fractions: that it divides them by, of train, validation and test.

    Raises:
        ImageFolderError: no such folder, a layout that is none of these, or one that is broken.
    """
    if not root.is_dir():
        raise ImageFolderError(
            f"{root} is {'not a folder' if root.exists() else 'missing'}; root is the folder that "
            f"the images are in. {KNOWN}"
        )
    for layout in LAYOUTS:
        found = layout(root, split_seed, fractions)
        if found is not None:
            return found
    raise ImageFolderError(f"{root} has no folders with images in them. {KNOWN}")


def _omniglot(root: Path, split_seed: int, fractions: Sequence[float]) -> Found | None:
    """`root/images_background/alphabet/character/*.png`, and images_evaluation as the test split.

    The background is divided into training and validation.
    """
    names = {folder.name for folder in subfolders(root)}
    if "images_background" not in names:
        return None
    background = _characters(root / "images_background")
    if "images_evaluation" not in names:
        splits = split_classes(len(background), fractions, split_seed)
        return _of_folders(root, background), splits
    evaluation = _characters(root / "images_evaluation")
    train, validation = fractions[:2]
    share = validation / (train + validation)
    splits = split_classes(len(background), (1.0 - share, share, 0.0), split_seed)
    test = range(len(background), len(background) + len(evaluation))
    return _of_folders(root, background + evaluation), splits | {"test": tuple(test)}


def _listed_images(root: Path, split_seed: int, fractions: Sequence[float]) -> Found | None:
    """`root/{train,val,test}.csv` of filename,label, as mini-ImageNet's splits are handed on."""
    lists = split_lists(root, ".csv", ImageFolderError)
    folder = root / "images" if (root / "images").is_dir() else root
    by_class = any(files(each, SUFFIXES) for each in subfolders(root) if each != folder)
    if "train" not in lists or (root / "train").is_dir() or by_class:
        return None
    members: dict[str, list[ImageClass]] = {}
    known: dict[str | Path, Path] = {}
    for split, path in lists.items():
        images = _rows(path, folder)
        for each in (*images, *(image for found in images.values() for image in found)):
            _note(each, path, known)
        members[split] = [ImageClass(label, path, found) for label, found in images.items()]
    return [each for found in members.values() for each in found], number_splits(members)


def _rows(path: Path, folder: Path) -> dict[str, list[Path]]:
    """The images of each class that a .csv lists, in its order."""
    images: dict[str, list[Path]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"filename", "label"} <= set(reader.fieldnames or ()):
                raise ImageFolderError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ()) or 'none'}; its "
                    "first row is filename,label"
                )
            for row in reader:
                image, label = folder / (row["filename"] or ""), row["label"]
                if not label or not image.is_file():
                    raise ImageFolderError(
                        f"line {reader.line_num} of {path}: "
                        + (f"{image} is missing" if label else "it has no label")
                    )
                images.setdefault(label, []).append(image)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ImageFolderError(f"{path} cannot be read ({problem})") from problem
    return images


def _note(each: str | Path, path: Path, known: dict[str | Path, Path]) -> None:
    """Note the list that a class (its name) or an image is in; refuse one that is in a list."""
    if each in known:
        raise ImageFolderError(
            f"{'class ' * isinstance(each, str)}{each} is in {known[each]} and in {path}, or twice "
            "in one: leave it once, or it would be held out and trained on"
        )
    known[each] = path


def _listed_classes(root: Path, split_seed: int, fractions: Sequence[float]) -> Found | None:
    """`root/data/class/*.png`, `root/splits/NAME/{train,val,test}.txt`: CIFAR-FS as it came out."""
    data, splits = root / "data", root / "splits"
    if not (data.is_dir() and any(splits.glob("*/train.txt"))):
        return None
    given = subfolders(splits)
    if len(given) != 1:
        raise ImageFolderError(
            f"{splits} has {len(given)} folders; of the ways to split classes there keep one"
        )
    lists = split_lists(given[0], ".txt", ImageFolderError)
    folders_of = {folder.name: folder for folder in subfolders(data)}
    members: dict[str, list[Path]] = {}
    known: dict[str | Path, Path] = {}
    for split, path in lists.items():
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as problem:
            raise ImageFolderError(f"{path} cannot be read ({problem})") from problem
        names = [line.strip() for line in lines if line.strip()]
        for name in names:
            if name not in folders_of:
                raise ImageFolderError(
                    f"{path} has the class {name[:80]}, a name a line; {data} has no such folder"
                )
            _note(name, path, known)
        members[split] = [folders_of[name] for name in names]
    folders = [folder for each in members.values() for folder in each]
    return _of_folders(root, folders), number_splits(members)


def _given_splits(root: Path, split_seed: int, fractions: Sequence[float]) -> Found | None:
    """`root/{train,val,test}/class/*.png`; a split that is missing is empty."""
    given = split_folders(root, ImageFolderError)
    if given is None:
        return None
    folders = [folder for members in given.values() for folder in members]
    return _of_folders(root, folders), number_splits(given)


def _classes(root: Path, split_seed: int, fractions: Sequence[float]) -> Found | None:
    """`root/class/*.png`."""
    inside = subfolders(root)
    # A folder of folders of folders is some other layout; one empty class is a mistake in this.
    if not any(files(folder, SUFFIXES) for folder in inside):
        return None
    return _of_folders(root, inside), split_classes(len(inside), fractions, split_seed)


Layout = Callable[[Path, int, Sequence[float]], Found | None]
LAYOUTS: tuple[Layout, ...] = (
    _omniglot,
    _listed_images,
    _listed_classes,
    _given_splits,
    _classes,
)
"""(root, split_seed, fractions) -> classes and splits, or None where it is another layout."""


def _characters(folder: Path) -> list[Path]:
    """Omniglot's classes: the characters of every alphabet."""
    characters = [
        character for alphabet in subfolders(folder) for character in subfolders(alphabet)
    ]
    if not characters:
        raise ImageFolderError(f"{folder} has no alphabet/character folders. {KNOWN}")
    return characters


def _of_folders(root: Path, folders: list[Path]) -> list[ImageClass]:
    """A class for each folder, which must be a folder of its own."""
    resolved: dict[Path, Path] = {}
    for folder in folders:
        twin = resolved.setdefault(folder.resolve(), folder)
        if twin is not folder:
            raise ImageFolderError(
                f"{folder} and {twin} are the same folder: a class may be held out only once. "
                "Remove one of the two"
            )
    return [
        ImageClass(folder.relative_to(root).as_posix(), folder, files(folder, SUFFIXES))
        for folder in folders
    ]
