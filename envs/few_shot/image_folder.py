"""Few-shot tasks from your own images, read from a folder when they are first drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .classes import check_ways, split_classes
from .folders import check_fractions, files, number_splits, split_folders, subfolders
from .images import FewShotTasks, Images

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
_LAYOUTS = (
    "It may be root/class/*.png, root/{train,val,test}/class/*.png and Omniglot's "
    "root/images_background/alphabet/character/*.png with root/images_evaluation beside it; "
    f"images end in {', '.join(sorted(_SUFFIXES))}"
)
# Of more than 8 bits a channel; Pillow's conversion to grey clips them.
_DEEP = ("I", "F")


_MOST_PIXELS = 180_000_000
"""Pixels of an image at most: a small file can unpack to any number."""


class ImageFolderError(ValueError):
    """A folder or a file that few-shot tasks cannot be made of; the message names it."""


def image_folder(
    root: str | Path,
    way: int = 5,
    size: int = 28,
    color: bool = False,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.64, 0.16, 0.2),
    rotations: bool = True,
) -> FewShotTasks:
    """Few-shot tasks from a folder of images.

    Layouts are `root/class/*.png`, whose classes are divided by `fractions`;
    `root/{train,val,test}/class/*.png`, whose splits are as given, empty where missing; and
    Omniglot's, `root/images_background/alphabet/character/*.png`, with `root/images_evaluation`
    as the test split if it is there. Hidden files, and those that are no images, are left out.

    Args:
        root: the folder.
        way: classes of a task.
        size: images are resized to `size` x `size` pixels, whatever their proportions.
        color: red, green and blue, instead of grey.
        split_seed: of the division into splits.
        fractions: of train, validation and test. Where the test split is given by Omniglot's
            layout, the first two, in proportion, divide the others.
        rotations: as in `FewShotTasks`.

    Raises:
        ImageFolderError: a missing folder, an unknown layout, a class without images, or a
            split with fewer classes than `way`.
    """
    root = Path(root)
    if size < 1:
        raise ValueError(f"size is {size}; an image has at least one pixel a side")
    fractions = check_fractions(fractions)
    if not root.is_dir():
        raise ImageFolderError(
            f"{root} is {'not a folder' if root.exists() else 'missing'}; root is the folder that "
            f"the images are in. {_LAYOUTS}"
        )
    classes, splits = _classes(root, split_seed, fractions)
    resolved: dict[Path, Path] = {}
    for folder in classes:
        twin = resolved.setdefault(folder.resolve(), folder)
        if twin is not folder:
            raise ImageFolderError(
                f"{folder} and {twin} are the same folder: a class may be held out only once. "
                "Remove one of the two"
            )
    images = _Files(root, classes, size, color)
    check_ways(str(root), splits, len(classes), way, fractions, ImageFolderError)
    return FewShotTasks(images, splits, way, rotations)


def _classes(
    root: Path, split_seed: int, fractions: Sequence[float]
) -> tuple[list[Path], dict[str, tuple[int, ...]]]:
    """The folder of each class, and the classes of each split."""
    inside = subfolders(root)
    names = {folder.name for folder in inside}
    if "images_background" in names:
        background = _characters(root / "images_background")
        if "images_evaluation" not in names:
            return background, split_classes(len(background), fractions, split_seed)
        evaluation = _characters(root / "images_evaluation")
        train, validation = fractions[:2]
        share = validation / (train + validation)
        splits = split_classes(len(background), (1.0 - share, share, 0.0), split_seed)
        test = range(len(background), len(background) + len(evaluation))
        return background + evaluation, splits | {"test": tuple(test)}
    given = split_folders(root, ImageFolderError)
    if given is not None:
        return [folder for members in given.values() for folder in members], number_splits(given)
    # A folder of folders of folders is some other layout; one empty class is a mistake in this.
    if not any(files(folder, _SUFFIXES) for folder in inside):
        raise ImageFolderError(f"{root} has no folders with images in them. {_LAYOUTS}")
    return inside, split_classes(len(inside), fractions, split_seed)


def _characters(folder: Path) -> list[Path]:
    """Omniglot's classes: the characters of every alphabet."""
    characters = [
        character for alphabet in subfolders(folder) for character in subfolders(alphabet)
    ]
    if not characters:
        raise ImageFolderError(f"{folder} has no alphabet/character folders. {_LAYOUTS}")
    return characters


class _Files(Images):
    """Image files, each read once, when it is first asked for, and kept as uint8."""

    error = ImageFolderError

    def __init__(self, root: Path, classes: list[Path], size: int, color: bool) -> None:
        images = [files(folder, _SUFFIXES) for folder in classes]
        for folder, paths in zip(classes, images, strict=True):
            if not paths:
                raise ImageFolderError(
                    f"the class folder {folder} has no images; add some, or remove it. {_LAYOUTS}"
                )
        self.names = [folder.relative_to(root).as_posix() for folder in classes]
        self._folders = classes
        self.counts = np.array([len(paths) for paths in images])
        self.shape = (3 if color else 1, size, size)
        self._mode = "RGB" if color else "L"
        self._paths = [path for paths in images for path in paths]
        self._forget()

    def _forget(self) -> None:
        # Pages of memory that nothing was written to are not taken from the system.
        self._kept = np.empty((len(self._paths), *self.shape), dtype=np.uint8)
        self._have = np.zeros(len(self._paths), dtype=np.bool_)

    def describe(self, k: int) -> str:
        return f"class {self.names[k]} ({self._folders[k]})"

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        have = self._have[indices]
        if not have.all():
            self._load(np.unique(indices[~have]))
        return self._kept[indices]

    def _load(self, missing: NDArray[np.int64]) -> None:
        with tqdm(
            total=len(self._paths),
            initial=int(self._have.sum()),
            desc="images read",
            unit="",
            delay=1,
            leave=False,
            position=1,
        ) as bar:
            for index in missing.tolist():
                self._kept[index] = self._pixels(self._paths[index])
                self._have[index] = True
                bar.update()

    def _pixels(self, path: Path) -> NDArray[np.uint8]:
        """The file as `[C, size, size]`."""
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as opened:
                if opened.width * opened.height > _MOST_PIXELS:
                    raise ValueError(
                        f"it has {opened.width} x {opened.height} pixels, more than "
                        f"{_MOST_PIXELS:,}"
                    )
                if opened.mode.startswith(_DEEP):
                    raise ValueError(f"mode {opened.mode} has more than 8 bits a channel")
                image = ImageOps.exif_transpose(opened)
                if image.has_transparency_data:
                    paper = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(paper, image.convert("RGBA"))
                image = image.convert(self._mode)
        except Exception as error:  # Pillow has a way of its own to fail for each kind of damage
            raise ImageFolderError(
                f"{path} cannot be read as an image ({error}); replace it, or remove it"
            ) from error
        pixels = np.asarray(image.resize(self.shape[1:], Image.Resampling.BILINEAR))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    # A copy reads the files itself: what was read may be gigabytes.
    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key not in ("_kept", "_have")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._forget()
