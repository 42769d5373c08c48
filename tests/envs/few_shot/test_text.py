"""Texts as tasks: words, token ids and splits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from envs.few_shot.text import TextError, TextTasks, distinct, words
from tests.helpers.few_shot import EVERY, rng


def corpus(count=6, texts=4):
    """Text i of class k is "class<k> text<i> both"."""
    return {f"c{k}": [f"class{k} text{i} both" for i in range(texts)] for k in range(count)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't Stop -- it's 3 o’clock!", ["don't", "stop", "it's", "3", "o’clock"]),
        ("snake_case x.y 'quoted'", ["snake", "case", "x", "y", "quoted"]),
        ("Ärger, naïve", ["ärger", "naïve"]),
        (" \n_-'", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_the_vocabulary_is_of_the_training_classes_alone():
    classes = {"a": ["x y z", "x y"], "b": ["x w"], "c": ["held held held", "x"], "d": ["out z"]}
    splits = {"train": (0, 1), "test": (2, 3)}
    family = TextTasks(classes, splits, way=2, length=4, vocabulary=100)
    assert family.vocabulary == ["", "?", "x", "y", "w", "z"]  # by frequency, then by the alphabet
    assert TextTasks(classes, splits, 2, 4, vocabulary=4).vocabulary == ["", "?", "x", "y"]
    encoded = family.encode(["Z held x", "", "w w w w y y"])
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [[5, 1, 2, 0], [0, 0, 0, 0], [4, 4, 4, 4]]
    # Words that are cut off are not counted: no text would have them.
    assert "z" not in TextTasks(classes, splits, way=2, length=2).vocabulary
    assert family.inputs.low.min() == 0
    assert family.inputs.high.max() == len(family.vocabulary) - 1
    assert family.texts("test").tolist() == [[1, 1, 1, 0], [2, 0, 0, 0], [1, 5, 0, 0]]
    with pytest.raises(TypeError, match="list of texts"):
        family.encode("one text")


def test_an_episode_is_balanced_consistent_and_never_repeats_a_text():
    classes = corpus()
    family = TextTasks(classes, EVERY, way=2, vocabulary=100)
    known = {family.encode([text])[0].tobytes(): k for k in range(3) for text in classes[f"c{k}"]}
    tasks = family.check(family.sample(20, rng()), 20)
    (x, y), (query_x, query_y) = family.episode(tasks, 3, 1, rng(1))
    np.testing.assert_array_equal(y, np.tile([0, 1], (20, 3)))
    np.testing.assert_array_equal(query_y, np.tile([0, 1], (20, 1)))
    for task, xs, labels in zip(
        tasks, np.concatenate([x, query_x], 1), np.concatenate([y, query_y], 1), strict=True
    ):
        assert len({row.tobytes() for row in xs}) == 8
        assert [known[row.tobytes()] for row in xs] == task[labels].tolist()
        assert all(family.inputs.contains(row) for row in xs)
    drawn, labels = family.draw(tasks, 30, rng())
    assert known[drawn[3, 7].tobytes()] == tasks[3, labels[3, 7]]
    again = family.episode(tasks, 3, 1, rng(1))
    np.testing.assert_array_equal(x, again[0][0])
    assert not np.array_equal(x, family.episode(tasks, 3, 1, rng(2))[0][0])


def test_tasks_are_distinct_classes_of_their_split():
    family = TextTasks(corpus(), EVERY, way=2)
    assert family.splits == EVERY
    for split in ("train", "test"):
        tasks = family.sample(50, rng(), split)
        assert set(tasks.ravel()) == set(EVERY[split])
        assert (tasks[:, 0] != tasks[:, 1]).all()
    with pytest.raises(TextError, match="no validation classes"):
        family.sample(1, rng(), "validation")
    with pytest.raises(ValueError, match=r"task 1 has the classes \[4, 4\]"):
        family.check([[0, 1], [4, 4]], 2)
    with pytest.raises(ValueError, match="outside the task space"):
        family.check([[0, 6]], 1)
    assert family.describe(np.array([4, 1])) == "c4, c1"


def test_too_few_texts_are_named():
    classes = {**corpus(), "c4": ["only this", "and that"]}
    family = TextTasks(classes, EVERY, way=2)
    family.check_episode(1, 1)
    with pytest.raises(TextError, match=r"class c4 has 2 text\(s\), fewer than 1 shots \+ 2 "):
        family.check_episode(1, 2)
    with pytest.raises(TextError, match="class c4 has 2"):
        family.episode(family.default[None], 2, 1, rng())


@pytest.mark.parametrize(
    ("classes", "settings", "message"),
    [
        ({}, {}, "no classes"),
        ({**corpus(5), "c5": []}, {}, "class c5 has no texts"),
        ({**corpus(5), "c5": ["fine", "..."]}, {}, "text 1 of class c5 has no words"),
        (corpus(), {"way": 1}, "way is 1"),
        (corpus(), {"way": 4}, "the train split has 3 class"),
        (corpus(), {"length": 0}, "length is 0"),
        (corpus(), {"vocabulary": 2}, "vocabulary is 2"),
    ],
)
def test_what_is_no_family_is_refused(classes, settings, message):
    with pytest.raises(ValueError, match=message):
        TextTasks(classes, EVERY, **{"way": 2, **settings})


def test_the_fingerprint_is_of_texts_splits_and_vocabulary():
    def print_of(classes=None, splits=EVERY, **settings):
        return TextTasks(classes or corpus(), splits, way=2, **settings).fingerprint

    other = corpus()
    other["c4"][0] = "class4 both text0"
    prints = [
        print_of(),
        print_of(other),
        print_of(splits={"train": (0, 1, 3), "test": (2, 4, 5)}),
        print_of(vocabulary=5),
        print_of(length=2),
    ]
    assert len(set(prints)) == 5
    assert print_of() == prints[0]
    family = TextTasks(corpus(), EVERY, way=2)
    for clone in (pickle.loads(pickle.dumps(family)), copy.deepcopy(family)):
        assert clone.fingerprint == prints[0]


def test_texts_of_several_classes_are_left_out():
    kept = distinct({"a": ["One two", "three", "one, TWO!"], "b": ["three", "four"]})
    assert kept == {"a": ["One two"], "b": ["four"]}
