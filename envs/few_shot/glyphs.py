"""Few-shot tasks from the letters of the fonts that matplotlib brings along.

A class is a letter of the Latin, Cyrillic, Greek, Armenian or Georgian script; its examples are
drawings of it by eight fonts or more, turned, moved, thinned and thickened a little. Letters that
look alike are one class, whatever their code points: A, Alpha and the Cyrillic A are.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .classes import split_classes
from .images import FewShotTasks, Images

SIDE = 28
"""Pixels of an image's side."""
_FINE = 4  # drawn so many times as large, and then averaged
_BOX = 20 * _FINE  # a letter's longer side
_FAMILIES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")
_LEAST_FONTS = 8
_VARIANTS = 2  # drawings of a letter by a font
_TRAINING, _VALIDATION, _TEST = ("LATIN", "CYRILLIC"), ("ARMENIAN", "GEORGIAN"), ("GREEK",)
_NEAR = 0.05  # squared distance of two drawings that look alike, relative to their squares
_HELD_OUT = 0.15  # of the letters of the scripts that are trained on
_RECIPE = 1  # counts what changes drawings, so that none of before are taken


@dataclass(frozen=True, eq=False)
class Drawings(Images):
    """Drawings of letters, and which letters are one class."""

    shape = (1, SIDE, SIDE)
    names: tuple[str, ...]
    """The letters of each class."""
    counts: NDArray[np.int64]
    """Number of drawings of each class, `[K]`."""
    images: NDArray[np.uint8]
    """`[counts.sum(), 28, 28]`, ink being 255; those of a class are together."""

    def __post_init__(self) -> None:
        if self.images.shape != (self.counts.sum(), SIDE, SIDE) or len(self.names) != len(
            self.counts
        ):
            raise ValueError("drawings and classes are not of each other")

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[indices][:, None]

    @functools.cached_property
    def digest(self) -> str:
        """A digest of every pixel."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()


class Glyphs(FewShotTasks):
    """Few-shot tasks from letters.

    Args:
        drawings: of all classes.
        splits, way, rotations: as in `FewShotTasks`.
    """

    def __init__(
        self,
        drawings: Drawings,
        splits: dict[str, tuple[int, ...]],
        way: int,
        rotations: bool,
    ) -> None:
        super().__init__(drawings, splits, way, rotations)
        self._drawings = drawings

    @property
    def fingerprint(self) -> str:
        """A digest of the classes, their splits and every pixel.

        Other versions of matplotlib or Pillow have other fonts, or draw them otherwise.
        """
        return hashlib.sha256((super().fingerprint + self._drawings.digest).encode()).hexdigest()


def glyphs(
    way: int = 5,
    held_out: Literal["scripts", "letters"] = "scripts",
    rotations: bool = False,
    split_seed: int = 0,
) -> Glyphs:
    """Few-shot tasks from letters, of which matplotlib's fonts have some 1,400 that look different.

    Training has 85 % of the Latin and Cyrillic letters, validation the Armenian and Georgian ones.
    Drawn once, in some twenty seconds, and kept in the user's cache folder.

    Args:
        way: classes of a task.
        held_out: what the test split has: a script of which nothing was seen in training, which is
            Greek (but for letters that look like Latin or Cyrillic ones); or the letters of Latin
            and Cyrillic that are left out of training.
        rotations: as in `FewShotTasks`. Turned letters may look like others: n and u.
        split_seed: of the letters that are left out of training.

    Raises:
        ValueError: another word for what is held out.
        ImportError: matplotlib or Pillow is not installed.
    """
    if held_out not in ("scripts", "letters"):
        raise ValueError(f"held_out is 'scripts' or 'letters', got {held_out!r}")
    drawings = all_drawings()
    return Glyphs(drawings, _splits(drawings.names, held_out, split_seed), way, rotations)


def _splits(names: Sequence[str], held_out: str, seed: int) -> dict[str, tuple[int, ...]]:
    """The classes of each split; one that looks like a letter of training is none of test."""
    of = defaultdict(list)
    for k, name in enumerate(names):
        scripts = set(map(_script, name))
        kinds = (_TRAINING, _VALIDATION, _TEST)
        of[next(kind for kind in kinds if scripts.intersection(kind))].append(k)
    parts = split_classes(len(of[_TRAINING]), (1 - _HELD_OUT, 0.0, _HELD_OUT), seed)
    seen = {name: tuple(of[_TRAINING][i] for i in members) for name, members in parts.items()}
    test = tuple(of[_TEST]) if held_out == "scripts" else seen["test"]
    return {"train": seen["train"], "validation": tuple(of[_VALIDATION]), "test": test}


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0]


@functools.cache
def all_drawings() -> Drawings:
    """All drawings there are, from the cache folder if they are there.

    Raises:
        ImportError: matplotlib or Pillow is not installed.
    """
    path = _cached()
    kept = _read(path)
    if kept is not None:
        return kept
    drawings = draw(fonts())
    _keep(path, drawings)
    return drawings


def fonts() -> list[Path]:
    """The font files: upright and slanted, light and bold, with serifs and without."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(folder.glob("*.ttf"))
    return [
        file for file in files if file.name.startswith(_FAMILIES) and "Display" not in file.name
    ]


def draw(files: Sequence[Path], letters: Iterable[str] | None = None) -> Drawings:
    """Draw letters by fonts; those of fewer than eight fonts are left out.

    Args:
        files: of the fonts.
        letters: to draw; all of the five scripts if not given.
    """
    from PIL import ImageFont

    basic = ImageFont.Layout.BASIC  # the other layout is not in every build
    loaded = [ImageFont.truetype(str(file), 96, layout_engine=basic) for file in files]
    by = _covered(files, letters)
    known = sorted(letter for letter, covering in by.items() if len(covering) >= _LEAST_FONTS)
    plain = {(letter, k): _plain(loaded[k], letter) for letter in known for k in by[letter]}
    classes = _alike(known, {key: _shrunk(image) for key, image in plain.items()}, len(files))
    images = [
        [
            _shrunk(_varied(plain[letter, k], np.random.default_rng([ord(letter), k, variant])))
            for letter in members
            for k in by[letter]
            for variant in range(_VARIANTS)
        ]
        for members in classes
    ]
    return Drawings(
        names=tuple("".join(members) for members in classes),
        counts=np.array([len(each) for each in images]),
        images=np.array([image for each in images for image in each]),
    )


def _covered(files: Sequence[Path], letters: Iterable[str] | None) -> dict[str, list[int]]:
    """The fonts that have a letter, by letter."""
    from matplotlib.ft2font import FT2Font

    wanted, by = None if letters is None else set(letters), defaultdict(list)
    scripts = {*_TRAINING, *_VALIDATION, *_TEST}
    for k, file in enumerate(files):
        for code in FT2Font(str(file)).get_charmap():
            letter = chr(code)
            if wanted is not None and letter not in wanted:
                continue
            # Lm, letters that modify others, are mostly small copies of them.
            if unicodedata.category(letter) in ("Lu", "Ll", "Lt", "Lo") and (
                _script(letter) in scripts
            ):
                by[letter].append(k)
    return by


def _plain(font: Any, letter: str) -> Any:
    """A letter, finely drawn, its box's longer side of 20 pixels."""
    from PIL import Image

    mask = font.getmask(letter, mode="L")
    drawn = Image.frombytes("L", mask.size, bytes(mask))
    drawn = drawn.crop(drawn.getbbox())
    scale = _BOX / max(drawn.size)
    width, height = (max(1, round(size * scale)) for size in drawn.size)
    drawn = drawn.resize((width, height), Image.Resampling.BILINEAR)
    paper = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
    paper.paste(drawn, ((paper.width - width) // 2, (paper.height - height) // 2))
    return paper


def _varied(plain: Any, rng: np.random.Generator) -> Any:
    """A letter with another stroke, turned by up to 10 degrees, moved and scaled a little."""
    from PIL import Image

    drawn = Image.fromarray(_stroked(np.asarray(plain), int(rng.integers(-1, 3))))
    angle, scale = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.9, 1.15)
    shift = rng.uniform(-1.5, 1.5, 2) * _FINE
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, SIDE * _FINE / 2)
    offset = middle - turn @ (middle + shift)  # from where in the letter each pixel is taken
    matrix = np.column_stack([turn, offset]).ravel().tolist()
    transform, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return drawn.transform(drawn.size, transform, matrix, bilinear)


def _stroked(ink: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """A letter whose strokes grow by so many pixels to each side; below 0, they shrink."""
    further = np.maximum if steps > 0 else np.minimum
    for _ in range(abs(steps)):
        grown = ink.copy()
        for to, of in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
            grown[to] = further(grown[to], ink[of])
            grown[:, to] = further(grown[:, to], ink[:, of])
        ink = grown
    return ink


def _shrunk(image: Any) -> NDArray[np.uint8]:
    return np.asarray(image.reduce(_FINE))


def _alike(
    letters: Sequence[str], images: dict[tuple[str, int], NDArray[np.uint8]], fonts: int
) -> list[list[str]]:
    """The letters in classes, those together that look alike in half of the fonts they share."""
    near = np.zeros((len(letters), len(letters)), np.int64)
    shared = np.zeros_like(near)
    for k in range(fonts):
        rows = [i for i, letter in enumerate(letters) if (letter, k) in images]
        if not rows:
            continue
        pixels = np.stack([images[letters[i], k].ravel() for i in rows]).astype(np.float32)
        square = np.square(pixels).sum(1)
        distance = square[:, None] + square - 2 * pixels @ pixels.T
        alike = distance < _NEAR * (square[:, None] + square) / 2
        near[np.ix_(rows, rows)] += alike
        shared[np.ix_(rows, rows)] += 1
    together = 2 * near >= np.maximum(shared, 1)
    classes, waiting = [], dict.fromkeys(range(len(letters)))
    while waiting:
        found = [next(iter(waiting))]
        for i in found:  # which grows
            waiting.pop(i, None)
            new = [int(j) for j in np.flatnonzero(together[i]) if j in waiting]
            found += new
            for j in new:
                waiting.pop(j)
        classes.append([letters[i] for i in sorted(found)])
    return classes


def _cached() -> Path:
    """The file that keeps the drawings of these versions."""
    import matplotlib
    from PIL import __version__, features

    made = (matplotlib.__version__, __version__, features.version("freetype2"), str(_RECIPE))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlmaml"
    return (
        folder / f"glyphs-{hashlib.sha256(' '.join(map(str, made)).encode()).hexdigest()[:16]}.npz"
    )


def _read(path: Path) -> Drawings | None:
    """The drawings in a file; None if it is missing or not whole."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            names = bytes(kept["names"]).decode().split("\n")
            return Drawings(tuple(names), kept["counts"], kept["images"])
    except Exception:  # whatever is wrong with it, the letters can be drawn again
        return None


def _keep(path: Path, drawings: Drawings) -> None:
    """Keep drawings for other processes, where that is possible."""
    staged = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            staged,
            names=np.frombuffer("\n".join(drawings.names).encode(), np.uint8),
            counts=drawings.counts,
            images=drawings.images,
        )
        staged.replace(path)
    except OSError:  # a full disk, or a folder that is not to be written to
        with contextlib.suppress(OSError):
            staged.unlink()
