"""Texts in files of every kind, and every complaint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from envs.few_shot.text import TextError
from envs.few_shot.text_files import text_files
from tests.helpers.few_shot import SPLITS, rng, write_folders


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
