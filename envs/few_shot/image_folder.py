"""Few-shot tasks from your own images, read from a folder when they are first drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from . import image_layouts
from .classes import check_ways
from .folders import check_fractions
from .image_layouts import KNOWN, ImageClass, ImageFolderError
from .images import FewShotTasks, Images

# Of more than 8 bits a channel; Pillow's conversion to grey clips them.
_DEEP = ("I", "F")


_MOST_PIXELS = 180_000_000
"""Pixels of an image at most: a small file can unpack to any number."""


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
    `root/{train,val,test}/class/*.png`, whose splits are as given, empty where missing;
    Omniglot's, `root/images_background/alphabet/character/*.png`, with `root/images_evaluation`
    as the test split if it is there; mini-ImageNet's lists, `root/{train,val,test}.csv` of
    filename,label, of files in `root/images`; and CIFAR-FS's, `root/data/class/*.png` with the
    names of classes in `root/splits/NAME/{train,val,test}.txt`. Hidden files, and those that are no
    images, are left out.

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
    classes, splits = image_layouts.read(root, split_seed, fractions)
    images = _Files(classes, size, color)
    check_ways(str(root), splits, len(classes), way, fractions, ImageFolderError)
    return FewShotTasks(images, splits, way, rotations)


class _Files(Images):
    """Image files, each read once, when it is first asked for, and kept as uint8."""

    error = ImageFolderError

    def __init__(self, classes: list[ImageClass], size: int, color: bool) -> None:
        for each in classes:
            if not each.images:
                raise ImageFolderError(
                    f"the class folder {each.place} has no images; add some, or remove it. {KNOWN}"
                )
        self.names = [each.name for each in classes]
        self._places = [each.place for each in classes]
        self.counts = np.array([len(each.images) for each in classes])
        self.shape = (3 if color else 1, size, size)
        self._mode = "RGB" if color else "L"
        self._paths = [path for each in classes for path in each.images]
        self._forget()

    def _forget(self) -> None:
        # Pages of memory that nothing was written to are not taken from the system.
        self._kept = np.empty((len(self._paths), *self.shape), dtype=np.uint8)
        self._have = np.zeros(len(self._paths), dtype=np.bool_)

    def describe(self, k: int) -> str:
        return f"class {self.names[k]} ({self._places[k]})"

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
