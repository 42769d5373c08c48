"""Folders of images of one grey each."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from envs.few_shot.image_folder import ImageFolderError, image_folder


def rng(seed=0):
    return np.random.default_rng(seed)


def paint(path, color=0, size=(6, 6), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def paint_classes(root, names, images=2, first=0):
    """Every image of class k is of one grey, first + k."""
    for k, name in enumerate(names):
        for i in range(images):
            paint(root / name / f"{i}.png", first + k)


def greys(family, split, way=2):
    """The greys of each class of images that tasks of a split are made of."""
    tasks = family.sample(60, rng(), split)
    (inputs, labels), _ = family.episode(tasks, 1, 1, rng())
    seen = {}
    for task, xs, cs in zip(tasks, inputs, labels, strict=True):
        for x, c in zip(xs, cs, strict=True):
            (grey,) = np.unique(np.round(x * 255))
            seen.setdefault(family.names[task[c, 0]], set()).add(int(grey))
    return seen


def refused(root, *messages, **parameters):
    with pytest.raises(ImageFolderError) as caught:
        image_folder(root, **{"way": 2, **parameters})
    for message in messages:
        assert message in str(caught.value)
