"""N-way K-shot images: what may never happen, on families drawn at random."""

from __future__ import annotations

import builtins

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.few_shot import images as module
from envs.few_shot.classes import split_classes
from envs.few_shot.images import FewShotTasks, digits
from tests.helpers.few_shot import EVERY, SPLITS, arrays, rng


@st.composite
def families(draw, side=2):
    """A family, its images, and how many shots and queries they suffice for.

    Every image has pixels of its own: the corner at the top left is its number, over 1000.
    """
    way = draw(st.integers(2, 4))
    extra = [draw(st.integers(0, 3)) for _ in SPLITS]
    sizes = [way + more for more in extra]
    if draw(st.booleans()):
        sizes[1] = 0
    shots, queries = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rotations = draw(st.booleans())
    counts = [shots + queries + draw(st.integers(0, 3)) for _ in range(sum(sizes))]
    number, classes = 0, []
    for count in counts:
        images = rng(number).random((count, 1, side, side)) * 1e-4
        images += (np.arange(number, number + count) + 1)[:, None, None, None] / 1000
        classes.append(images.astype(np.float32))
        number += count
    splits = split_classes(sum(sizes), sizes, draw(st.integers(0, 100)))
    return FewShotTasks(classes, splits, way, rotations), classes, splits, shots, queries


def owner(classes, image):
    """The class, the image in it and the quarter turns that `image` is."""
    return next(
        (k, i, q)
        for k, images in enumerate(classes)
        for i, original in enumerate(images)
        for q in range(4)
        if np.array_equal(np.rot90(original, q, axes=(1, 2)), image)
    )


@settings(max_examples=25, deadline=None)
@given(families(), st.integers(0, 2**32 - 1))
def test_an_episode_is_balanced_consistent_and_never_repeats_an_image(drawn, seed):
    family, classes, splits, shots, queries = drawn
    family.check_episode(shots, queries)
    generator = rng(seed)
    for split in SPLITS:
        if not splits[split]:
            continue
        tasks = family.check(family.sample(2, generator, split), 2)
        support, query = family.episode(tasks, shots, queries, generator)
        way = tasks.shape[1]
        np.testing.assert_array_equal(support[1], np.tile(np.arange(way), (2, shots)))
        np.testing.assert_array_equal(query[1], np.tile(np.arange(way), (2, queries)))
        for task, xs, cs in zip(
            tasks,
            np.concatenate([support[0], query[0]], axis=1),
            np.concatenate([support[1], query[1]], axis=1),
            strict=True,
        ):
            owners = [owner(classes, x) for x in xs]
            assert len(set(owners)) == len({o[:2] for o in owners}) == len(xs)
            # Every image is of the class, and turned as often, as the task says of its label.
            for (k, _, quarters), label in zip(owners, cs, strict=True):
                assert (k, quarters) == tuple(task[label])


@settings(max_examples=40, deadline=None)
@given(families(), st.integers(0, 2**32 - 1))
def test_tasks_are_distinct_classes_of_their_split(drawn, seed):
    family, _, splits, _, _ = drawn
    assert family.splits == splits
    generator = rng(seed)
    for split in SPLITS:
        if not splits[split]:
            with pytest.raises(ValueError, match=f"there are no {split} classes"):
                family.sample(1, generator, split)
            continue
        tasks = family.sample(20, generator, split)
        assert set(tasks[..., 0].ravel()) <= set(splits[split])
        assert all(len(set(task[:, 0])) == len(task) for task in tasks)
        assert all(family.space.contains(task) for task in tasks)
        if split != "train":
            assert not tasks[..., 1].any()


def test_every_turn_is_rot90_of_the_whole_class():
    classes = arrays(2, images=6)
    family = FewShotTasks(classes, {"train": (0, 1)}, way=2)
    for quarters in range(4):
        task = np.array([[[1, quarters], [0, (quarters + 1) % 4]]])
        (xs, cs), _ = family.episode(task, 5, 1, rng())
        assert xs.shape == (1, 10, 1, 5, 5)
        for label, (k, turn) in enumerate(task[0]):
            turned = {np.rot90(image, turn).tobytes() for image in classes[k]}
            for x in xs[0, cs[0] == label, 0]:
                assert np.round(x * 255).astype(np.uint8).tobytes() in turned
        drawn, labels = family.draw(task, 100, rng())
        assert set(labels[0]) == {0, 1}
        assert len({x.tobytes() for x in drawn[0]}) == 12  # every image of either class
        for x, label in zip(drawn[0, :, 0], labels[0], strict=True):
            k, turn = task[0, label]
            turned = {np.rot90(image, turn).tobytes() for image in classes[k]}
            assert np.round(x * 255).astype(np.uint8).tobytes() in turned


def test_sampling_is_uniform():
    family = FewShotTasks(arrays(), EVERY, way=2)
    tasks = family.sample(12_000, rng())
    pairs, counts = np.unique(tasks[..., 0], axis=0, return_counts=True)
    assert len(pairs) == 6  # ordered: which class is label 0 is random too
    np.testing.assert_allclose(counts, 2000, rtol=0.1)
    turns, counts = np.unique(tasks[..., 1], axis=0, return_counts=True)
    assert len(turns) == 16
    np.testing.assert_allclose(counts, 750, rtol=0.15)

    tasks = np.tile([[[0, 0], [1, 0]]], (4000, 1, 1))
    (support, _), _ = family.episode(tasks, 2, 1, rng())
    _, counts = np.unique(support[:, [0, 2]].reshape(4000, -1), axis=0, return_counts=True)
    assert len(counts) == 12  # ordered pairs of four images
    np.testing.assert_allclose(counts, 4000 / 12, rtol=0.25)


def test_pixels():
    grey = FewShotTasks(arrays(), EVERY, way=3)
    assert grey.inputs.shape == (1, 5, 5)
    white = [np.full((2, 3, 4, 4), 255, dtype=np.uint8)] * 2
    color = FewShotTasks(white, {"train": (0, 1)}, way=2)
    assert color.inputs.shape == (3, 4, 4)
    inputs, _ = color.draw(color.default[None], 5, rng())
    assert inputs.dtype == np.float32
    assert (inputs == 1.0).all()
    same = FewShotTasks([images / 255 for images in arrays()], EVERY, way=3)
    tasks = grey.sample(3, rng())
    a, b = (family.episode(tasks, 2, 2, rng())[0][0] for family in (grey, same))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_drawing_leaves_the_images_alone():
    classes = [images / 255 for images in arrays()]
    family = FewShotTasks(classes, EVERY, way=2)
    tasks = np.array([[[0, 1], [1, 2]]])
    (first, _), _ = family.episode(tasks, 1, 1, rng())
    kept = first.copy()
    first[...] = 7
    np.testing.assert_array_equal(family.episode(tasks, 1, 1, rng())[0][0], kept)


def test_tasks_are_checked():
    family = FewShotTasks(arrays(), EVERY, way=2)
    np.testing.assert_array_equal(family.check([[[3, 2], [1, 0]]], 1), [[[3, 2], [1, 0]]])
    with pytest.raises(ValueError, match=r"task 1 has the classes \[4, 4\]"):
        family.check([[[0, 0], [1, 0]], [[4, 0], [4, 1]]], 2)
    with pytest.raises(ValueError, match="outside the task space"):
        family.check([[[0, 0], [6, 0]]], 1)
    unturned = FewShotTasks(arrays(), EVERY, way=2, rotations=False)
    assert not unturned.sample(50, rng())[..., 1].any()
    with pytest.raises(ValueError, match="outside the task space"):
        unturned.check([[[0, 0], [1, 1]]], 1)
    with pytest.raises(ValueError, match="integer"):
        family.check([[[0.0, 0.0], [1.0, 0.0]]], 1)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "no classes"),
        ([np.zeros((2, 5, 5)), np.zeros((0, 5, 5))], r"class 1 has shape \(0,"),
        ([np.zeros((2, 5, 5)), np.zeros((5, 5))], r"class 1 has shape \(5, 5\)"),
        ([np.zeros((2, 5, 5)), np.zeros((2, 6, 6))], "class 1 has float32 images of shape"),
        ([np.zeros((2, 5, 5)), np.full((2, 5, 5), 2.0)], "class 1 has float64 .* to 2.0"),
        ([np.zeros((2, 5, 5)), np.full((2, 5, 5), np.nan)], "class 1 has float64"),
        ([np.zeros((2, 5, 5), dtype=np.int64)] * 2, "class 0 has int64"),
        ([np.zeros((2, 5, 6))] * 2, "rotations=False"),
    ],
)
def test_bad_images_are_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        FewShotTasks(classes, {"train": (0, 1)}, way=2)


def test_digits():
    from sklearn.datasets import load_digits

    family = digits(way=3, split_seed=1)
    assert {split: len(members) for split, members in family.splits.items()} == {
        "train": 4,
        "validation": 3,
        "test": 3,
    }
    data = load_digits()
    known = {image.tobytes(): label for image, label in zip(data.images, data.target, strict=True)}
    tasks = family.sample(4, rng(), "test")
    (xs, cs), _ = family.episode(tasks, 10, 5, rng())
    for task, images, labels in zip(tasks, xs, cs, strict=True):
        for image, label in zip(images[:, 0], labels, strict=True):
            assert known[(image * 16).astype(np.float64).tobytes()] == task[label, 0]
    assert digits(split_seed=1).splits == family.splits != digits(split_seed=2).splits
    made = gymnasium.make("rlmaml/Digits-v0", way=2, sizes=[6, 2, 2], rotations=False)
    assert made.unwrapped.examples.way == 2


def test_digits_without_scikit_learn(monkeypatch):
    ours = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return ours(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    module._digit_images.cache_clear()  # or they are there already
    with pytest.raises(ImportError, match=r"pip install 'rlmaml\[digits\]'"):
        digits()
