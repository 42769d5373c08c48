"""Folders of a user's data."""

from __future__ import annotations

import pytest

from envs.few_shot.folders import (
    check_fractions,
    files,
    number_splits,
    split_folders,
    subfolders,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("train/b", "train/a", "val/c", ".hidden/d"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("2.TXT", "1.txt", ".3.txt", "4.md"):
        (tmp_path / "train" / "a" / name).write_text("")
    return tmp_path


def test_hidden_ones_and_others_do_not_count(folder):
    assert [p.name for p in subfolders(folder)] == ["train", "val"]
    assert [p.name for p in files(folder / "train" / "a", (".txt",))] == ["1.txt", "2.TXT"]


def test_classes_are_numbered_through_the_splits(folder):
    members = split_folders(folder, ValueError)
    assert {split: [p.name for p in paths] for split, paths in members.items()} == {
        "train": ["a", "b"],
        "validation": ["c"],
    }
    assert number_splits(members) == {"train": (0, 1), "validation": (2,)}


def test_another_layout_gives_no_splits(folder):
    assert split_folders(folder / "train", ValueError) is None
    (folder / "other").mkdir()
    assert split_folders(folder, ValueError) is None


def test_validation_is_given_once(folder):
    class OwnError(ValueError):
        pass

    (folder / "validation").mkdir()
    with pytest.raises(OwnError, match="both 'val' and 'validation'"):
        split_folders(folder, OwnError)


def test_fractions():
    check_fractions((1, 0, 0))
    for bad in [(0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.2, 0)]:
        with pytest.raises(ValueError, match="fractions are those of"):
            check_fractions(bad)


def test_whole_numbers_are_fractions_where_they_add_up_to_one():
    assert [type(part) for part in check_fractions([1, 0, 0])] == [float] * 3
    assert check_fractions([6, 2, 2]) == [6, 2, 2]  # sizes, of ten classes
    for bad in ([True, False, False], ["1", 0, 0], "100", 1, None, [float("nan"), 0, 0]):
        with pytest.raises(ValueError, match="fractions are those of"):
            check_fractions(bad)
