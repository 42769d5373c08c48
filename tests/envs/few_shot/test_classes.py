"""Held-out classes: their division, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.few_shot.classes import split_classes
from envs.few_shot.images import FewShotTasks
from tests.helpers.few_shot import EVERY, SPLITS, arrays, rng


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.one_of(
        st.just((0.64, 0.16, 0.2)),
        st.just((0.0, 0.5, 0.5)),
        st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)).map(lambda p: (1 - p[0] - p[1], *p)),
    ),
    st.integers(0, 1000),
)
def test_split_classes_by_fractions(count, fractions, seed):
    splits = split_classes(count, fractions, seed)
    assert tuple(splits) == SPLITS
    assert sorted(sum(splits.values(), ())) == list(range(count))
    for split, fraction in zip(SPLITS, fractions, strict=True):
        assert abs(len(splits[split]) - fraction * count) <= 1
    assert splits == split_classes(count, fractions, seed)


def test_split_classes_by_sizes():
    splits = split_classes(10, [4, 3, 3], 0)
    assert [len(splits[split]) for split in SPLITS] == [4, 3, 3]
    assert len({split_classes(10, (4, 3, 3), seed)["train"] for seed in range(20)}) > 10
    assert len(split_classes(100)["train"]) == 64
    with pytest.raises(ValueError, match="add up to 9, but there are 10"):
        split_classes(10, (3, 3, 3))
    with pytest.raises(ValueError, match="add up to 1"):
        split_classes(10, (0.5, 0.1, 0.1))
    for bad in [(1, 2), (11, -1, 0), "abc"]:
        with pytest.raises(ValueError, match="sizes are those of"):
            split_classes(10, bad)


def test_a_class_with_too_few_images_is_named():
    classes = [*arrays(5, images=4), *arrays(1, images=3)]
    family = FewShotTasks(classes, EVERY, way=2)
    family.check_episode(1, 2)
    message = r"class 5 has 3 image\(s\), fewer than 1 shots \+ 3 queries = 4"
    with pytest.raises(ValueError, match=message):
        family.check_episode(1, 3)
    with pytest.raises(ValueError, match=message):
        family.episode(family.default[None], 1, 3, rng())
    # Classes of no split do not count.
    FewShotTasks(classes, {"train": (0, 1), "test": (2, 3)}, way=2).check_episode(1, 3)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": (0, 1, 2), "test": (2, 3)}, "class 2 is in train and in test"),
        ({"train": (0, 1, 1)}, "class 1 is in train and in train"),
        ({"train": (0,), "test": (2, 3)}, "the train split has 1 class"),
        ({"test": (2, 3)}, "the train split has 0 class"),
        ({"train": (0, 1), "validation": (2,)}, "the validation split has 1 class"),
        ({"train": (0, 6)}, "has class 6; classes are 0 to 5"),
        ({"train": (0, -1)}, "has class -1"),
        ({"train": (0, 1), "dev": (2, 3)}, "unknown splits"),
    ],
)
def test_bad_splits_are_refused(splits, message):
    with pytest.raises(ValueError, match=message):
        FewShotTasks(arrays(), splits, way=2)


def test_way_is_at_least_two():
    with pytest.raises(ValueError, match="way is 1"):
        FewShotTasks(arrays(), EVERY, way=1)
    oblong = FewShotTasks([np.zeros((2, 5, 6))] * 2, {"train": (0, 1)}, way=2, rotations=False)
    assert oblong.inputs.shape == (1, 5, 6)
