"""Small data sets for tests of few-shot families."""

from __future__ import annotations

import numpy as np

SPLITS = ("train", "validation", "test")
EVERY = {"train": (0, 1, 2), "validation": (), "test": (3, 4, 5)}
"""Six classes divided in two splits."""


def rng(seed=0):
    return np.random.default_rng(seed)


def arrays(count=6, images=4, shape=(5, 5)):
    """Classes of random grey images."""
    return [rng(k).integers(256, size=(images, *shape), dtype=np.uint8) for k in range(count)]


def write_folders(root, names, texts=3):
    """A folder of text files for each class."""
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(texts):
            (root / name / f"{i}.txt").write_text(f"{name} class{k} number{i}")
