"""Files of texts and images as people have them: what is read, or refused and in which words."""

from __future__ import annotations

import json
import os
import struct
import zlib

import numpy as np
import pytest

from envs.few_shot.image_folder import ImageFolderError, image_folder
from envs.few_shot.text import TextError
from envs.few_shot.text_files import text_files
from tests.helpers.few_shot import rng

ALL = {"way": 2, "fractions": [1, 0, 0]}
NOT_NEWLINES = ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1d", "\x1e"]


@pytest.mark.parametrize("separator", NOT_NEWLINES)
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_row_ends_at_a_newline_alone(tmp_path, kind, separator):
    texts = [f"one{separator}two {label} {i}" for label in "ab" for i in range(2)]
    labels = ["a", "a", "b", "b"]
    path = tmp_path / f"texts.{kind}"
    if kind == "jsonl":
        rows = zip(labels, texts, strict=True)
        lines = [json.dumps({"label": x, "text": y}, ensure_ascii=False) for x, y in rows]
    else:
        mark = {"csv": ",", "tsv": "\t"}[kind]
        lines = [f"{x}{mark}{y}" for x, y in zip(("label", *labels), ("text", *texts), strict=True)]
    path.write_bytes("\n".join(lines).encode())
    family = text_files(path, **ALL)
    assert family.names == ["a", "b"]
    assert (family.texts("train") != 0).sum(1).tolist() == [4, 4, 4, 4]


ROWS = ["label,text", "a,one", "a,two", "b,three", 'b,"four']
WHOLE = {
    "newlines of Unix": "\n".join([*ROWS, 'five"']),
    "newlines of Windows": "\r\n".join([*ROWS, 'five"', ""]),
    "newlines of old": "\r".join([*ROWS, 'five"']),
    "a mark of byte order": "\ufeff" + "\n".join([*ROWS, 'five"']),
    "empty lines": "\n\n".join([*ROWS, 'five"', "", ""]),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_tables_are_read_as_other_programs_write_them(tmp_path, content):
    path = tmp_path / "texts.csv"
    path.write_bytes(content.encode())
    family = text_files(path, **ALL)
    assert family.names == ["a", "b"]
    assert sorted((family.texts("train") != 0).sum(1).tolist()) == [1, 1, 1, 2]


@pytest.mark.parametrize("fractions", [[1, 0, 0], (1, 0, 0.0), [1.0, 0, 0], np.array([1, 0, 0])])
def test_fractions_are_no_sizes(tmp_path, fractions):
    path = tmp_path / "texts.csv"
    path.write_text("label,text\na,one\nb,two\nc,three\n")
    assert len(text_files(path, way=2, fractions=fractions).splits["train"]) == 3


DEEP = '{"label": "a", "text": ' + "[" * 100_000 + "\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", DEEP, "line 1 is no JSON"),
        ("x.jsonl", '{"label": "a", "text": ' + "1" * 5000 + "}\n", "line 1 is no JSON"),
        ("x.csv", "label,text\na," + "x" * 200_000 + "\n", "field larger than"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(TextError, match=message):
        text_files(tmp_path / name, **ALL)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "texts.csv")
    with pytest.raises(TextError, match="neither a folder nor a file"):
        text_files(tmp_path / "texts.csv", **ALL)


def png(width, height):
    """The beginning of a picture that would unpack to so many pixels."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


WHOLE_IMAGE = png(20, 20)
BROKEN = {
    "empty": b"",
    "no picture": b"GIF89a" + bytes(10),
    "cut": WHOLE_IMAGE[: len(WHOLE_IMAGE) // 2],
    "of a billion pixels": png(40_000, 30_000),
    "of no pixels": png(0, 5),
    "as wide as a number": png(2**31 - 1, 1),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["1.png", "1\x1b[31m.png", os.fsdecode(b"\xff.png")])
def test_a_picture_that_is_none_is_named(tmp_path, content, name):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_bytes(content)
    family = image_folder(tmp_path, **ALL)
    with pytest.raises(ImageFolderError, match="cannot be read as an image"):
        family.draw(family.sample(1, rng()), 1, rng())
