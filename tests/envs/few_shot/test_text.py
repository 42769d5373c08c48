"""Texts as tasks: words, token ids, splits, files of every kind, and every complaint."""

from __future__ import annotations

import copy
import json
import pickle
import re

import numpy as np
import pytest

from envs.few_shot.docstrings import docstrings
from envs.few_shot.text import TextError, TextTasks, distinct, words
from envs.few_shot.text_files import text_files

SPLITS = ("train", "validation", "test")


def rng(seed=0):
    return np.random.default_rng(seed)


def corpus(count=6, texts=4):
    """Text i of class k is "class<k> text<i> both"."""
    return {f"c{k}": [f"class{k} text{i} both" for i in range(texts)] for k in range(count)}


EVERY = {"train": (0, 1, 2), "validation": (), "test": (3, 4, 5)}


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


def write_folders(root, names, texts=3):
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(texts):
            (root / name / f"{i}.txt").write_text(f"{name} class{k} number{i}")


def test_folders(tmp_path):
    write_folders(tmp_path, "abcdefghij")
    (tmp_path / "a" / "notes.md").write_text("not this")
    (tmp_path / "a" / ".hidden.txt").write_text("nor this")
    (tmp_path / ".cache").mkdir()
    family = text_files(tmp_path, way=2)
    assert family.names == list("abcdefghij")
    assert [len(family.splits[split]) for split in SPLITS] == [6, 2, 2]
    assert sorted(sum(family.splits.values(), ())) == list(range(10))
    assert text_files(str(tmp_path), way=2).fingerprint == family.fingerprint
    assert text_files(tmp_path, way=2, split_seed=1).splits != family.splits
    family.check_episode(2, 1)
    with pytest.raises(TextError, match="class a has 3 text"):
        family.check_episode(2, 2)


def test_given_splits(tmp_path):
    write_folders(tmp_path / "train", "abc")
    write_folders(tmp_path / "val", "de")
    family = text_files(tmp_path, way=2)
    assert family.splits == {"train": (0, 1, 2), "validation": (3, 4), "test": ()}
    assert family.names == ["train/a", "train/b", "train/c", "val/d", "val/e"]


ROWS = [(name, f"{name}, so text {i}") for name in ("dog", "cat", "eel") for i in range(2)]
WHOLE = {"way": 2, "fractions": (1, 0, 0.0)}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_files(tmp_path, kind):
    path = tmp_path / f"texts.{kind}"
    if kind == "jsonl":
        lines = [json.dumps({"kind": label, "said": text, "more": 1}) for label, text in ROWS]
    else:
        quote, mark = ('"', ",") if kind == "csv" else ("", "\t")
        lines = [mark.join(["said", "more", "kind"])]
        lines += [mark.join([f"{quote}{text}{quote}", "1", label]) for label, text in ROWS]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8-sig")
    family = text_files(path, label="kind", text="said", **WHOLE)
    assert family.names == ["cat", "dog", "eel"]
    assert sorted(family.vocabulary[2:]) == ["0", "1", "cat", "dog", "eel", "so", "text"]
    first, second = family.episode(np.array([[1, 0]]), 1, 1, rng())[0][0][0]
    assert family.vocabulary[first[0]] == "dog"
    assert family.vocabulary[second[0]] == "cat"


def refused(root, *messages, **settings):
    with pytest.raises(TextError) as caught:
        text_files(root, **{"way": 2, **settings})
    for message in messages:
        assert message in str(caught.value)


def test_places_that_are_none(tmp_path):
    refused(tmp_path / "nowhere", f"{tmp_path / 'nowhere'} is missing", "root/class/*.txt")
    refused(tmp_path, "has no folders with .txt files", ".jsonl")
    (tmp_path / "texts.xlsx").write_text("")
    refused(tmp_path / "texts.xlsx", "is of another kind", ".csv")
    write_folders(tmp_path, "abc")
    (tmp_path / "d").mkdir()
    refused(tmp_path, f"the class folder {tmp_path / 'd'} has no .txt files")
    both = tmp_path / "both"
    for name in ("train", "val", "validation"):
        write_folders(both / name, "ab")
    refused(both, "both 'val' and 'validation'")


def test_broken_texts_are_named(tmp_path):
    write_folders(tmp_path, "abc")
    (tmp_path / "b" / "1.txt").write_bytes(b"caf\xe9")
    refused(tmp_path, f"{tmp_path / 'b' / '1.txt'} cannot be read as text in UTF-8")
    (tmp_path / "b" / "1.txt").write_text("...")
    refused(tmp_path, f"{tmp_path / 'b' / '1.txt'} has no words")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("csv", "", "has the columns []"),
        ("csv", "name,text\na,b\n", "has the columns ['name', 'text'], 'label' is not among"),
        ("csv", "label,text\n", "has no rows"),
        ("csv", "label,text\na,one\nb,two, three\n", "line 3 has more fields than the 2"),
        ("csv", "label,text\na,one\nb\n", "line 3 has the text None"),
        ("csv", "label,text\na,one\n,two\n", "line 3 has the label ''"),
        ("csv", "label,text\na,one\nb,...\n", "line 3 has no words"),
        ("csv", 'label,text\na,"one\n', "row after line 0: unexpected end of data"),
        ("tsv", "label\ttext\na\tone\ttwo\n", "line 2 has more fields"),
        ("jsonl", '{"label": "a", "text": "one"}\n{"label"\n', "line 2 is no JSON"),
        ("jsonl", '{"label": "a"}\n', "line 1 is no object with the keys 'label' and 'text'"),
        ("jsonl", "[1, 2]\n", "line 1 is no object"),
        ("jsonl", '{"label": null, "text": "one"}\n', "line 1 has the label None"),
        ("jsonl", '{"label": 3, "text": 5}\n', "line 1 has the text 5"),
        ("jsonl", "\n", "has no rows"),
    ],
)
def test_broken_rows_are_named(tmp_path, kind, content, message):
    path = tmp_path / f"texts.{kind}"
    path.write_text(content)
    refused(path, f"{path}", message)


def test_too_few_classes_and_texts(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("label,text\n" + "".join(f'{label},"{text}"\n' for label, text in ROWS))
    refused(
        path, "1 class(es) to validation, of 3 in all: fewer than way=2", fractions=(0.6, 0.4, 0.0)
    )
    refused(path, "3 class(es) to train", way=4, fractions=(1, 0, 0.0))
    path.write_text(path.read_text() + 'ant,"Dog: so text 0"\n')
    refused(path, "class ant has no text that no other class has", **WHOLE)
    for bad in [(0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.2, 0)]:
        with pytest.raises(ValueError, match="fractions are those of"):
            text_files(path, fractions=bad)


def test_docstrings():
    family = docstrings(packages=())
    assert {"email", "logging", "unittest"} <= set(family.names)
    assert all(len(family.splits[split]) >= 5 for split in SPLITS)
    home = [k for split in SPLITS for k in family.splits[split]]
    assert sorted(home) == list(range(len(family.names)))
    family.check_episode(5, 15)
    said = "Parses a message, as email does"
    assert (family.encode([said])[0, 6:] == 0).all()
    again = docstrings(packages=(), split_seed=1)
    assert again.splits != family.splits
    assert again.fingerprint != family.fingerprint
    more = docstrings(packages=["numpy"])
    assert set(more.names) > set(family.names)
    assert "numpy.linalg" in more.names


def test_docstrings_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(TextError, match="no package 'nonsuch'"):
        docstrings(packages=["nonsuch"])
    with pytest.raises(TextError, match="fewer than way=50"):
        docstrings(packages=(), way=50)
    with pytest.raises(ValueError, match="least is 1"):
        docstrings(least=1)
    monkeypatch.setattr("envs.few_shot.docstrings._modules", lambda package: {})
    with pytest.raises(TextError, match=re.escape("has 0 class(es) to train")):
        docstrings()
