"""Layouts of folders of images, each from a small drawn copy."""

from __future__ import annotations

import pytest

from envs.few_shot.image_folder import ImageFolderError, image_folder
from tests.helpers.pictures import greys, paint, paint_classes, refused, rng


def test_classes_in_folders(tmp_path):
    names = [f"c{k:02d}" for k in range(20)]
    paint_classes(tmp_path, names)
    family = image_folder(tmp_path, way=2)
    assert family.names == names
    assert [len(members) for members in family.splits.values()] == [13, 3, 4]
    by_split = [greys(family, split) for split in family.splits]
    assert [len(classes) for classes in by_split] == [13, 3, 4]
    together = {name: grey for classes in by_split for name, grey in classes.items()}
    assert together == {name: {k} for k, name in enumerate(names)}
    assert image_folder(str(tmp_path), way=2).splits == family.splits
    assert image_folder(tmp_path, way=2, split_seed=1).splits != family.splits
    halves = image_folder(tmp_path, way=2, fractions=[0.5, 0.0, 0.5])
    assert [len(members) for members in halves.splits.values()] == [10, 0, 10]


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_given_splits(tmp_path, validation):
    paint_classes(tmp_path / "train", "abc", first=0)
    paint_classes(tmp_path / validation, "de", first=10)
    paint_classes(tmp_path / "test", "ab", first=20)
    family = image_folder(tmp_path, way=2)
    assert greys(family, "train") == {"train/a": {0}, "train/b": {1}, "train/c": {2}}
    assert greys(family, "validation") == {f"{validation}/d": {10}, f"{validation}/e": {11}}
    assert greys(family, "test") == {"test/a": {20}, "test/b": {21}}


def test_a_split_that_is_not_given_is_empty(tmp_path):
    paint_classes(tmp_path / "train", "abc")
    family = image_folder(tmp_path, way=2)
    assert family.splits == {"train": (0, 1, 2), "validation": (), "test": ()}
    with pytest.raises(ImageFolderError, match="no test classes"):
        family.sample(1, rng(), "test")


def test_a_class_may_be_called_train(tmp_path):
    paint_classes(tmp_path, ["train", "bus", "car"])
    family = image_folder(tmp_path, way=2, fractions=(1, 0, 0.0))
    assert family.names == ["bus", "car", "train"]
    only = tmp_path / "only"
    paint_classes(only, ["train", "test"])
    assert image_folder(only, way=2, fractions=(1.0, 0, 0)).names == ["test", "train"]


def test_omniglot(tmp_path):
    background = tmp_path / "images_background"
    for a, alphabet in enumerate(["Greek", "Latin"]):
        paint_classes(background / alphabet, [f"character{c:02d}" for c in range(5)], first=10 * a)
    family = image_folder(tmp_path, way=2)
    assert [len(members) for members in family.splits.values()] == [6, 2, 2]
    assert family.names[5] == "images_background/Latin/character00"

    paint_classes(
        tmp_path / "images_evaluation" / "Runes", ["character01", "character02"], first=90
    )
    family = image_folder(tmp_path, way=2)
    assert [len(members) for members in family.splits.values()] == [8, 2, 2]
    evenly = image_folder(tmp_path, way=2, fractions=(0.4, 0.4, 0.2))
    assert [len(members) for members in evenly.splits.values()] == [5, 5, 2]
    runes = "images_evaluation/Runes/character0"
    assert greys(family, "test") == {f"{runes}1": {90}, f"{runes}2": {91}}
    trained = greys(family, "train") | greys(family, "validation")
    assert trained == {
        f"images_background/{alphabet}/character{c:02d}": {10 * a + c}
        for a, alphabet in enumerate(["Greek", "Latin"])
        for c in range(5)
    }


def listed(root, name, rows, header="filename,label"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("folder", ["images", "."])
def test_lists_of_images_and_labels(tmp_path, folder):
    """mini-ImageNet with the splits of Ravi and Larochelle, few."""
    grey = 0
    expected = {}
    for split, labels in (("train", "abc"), ("val", "de"), ("test", "fg")):
        rows = []
        for label in labels:
            for i in range(2):
                paint(tmp_path / folder / f"n{label}0{i}.jpg", grey)
                rows.append(f"n{label}0{i}.jpg,n{label}")
            expected.setdefault(split, {})[f"n{label}"] = {grey}
            grey += 20
        listed(tmp_path, f"{split}.csv", rows)
    paint(tmp_path / folder / "unlisted.jpg", 250)
    family = image_folder(tmp_path, way=2)
    assert greys(family, "train") == expected["train"]
    assert greys(family, "validation") == expected["val"]
    assert greys(family, "test") == expected["test"]


def test_lists_of_images_that_are_wrong(tmp_path):
    paint(tmp_path / "images" / "a.png")
    listed(tmp_path, "train.csv", ["a.png,a"], header="file,class")
    refused(tmp_path, "train.csv has the columns file, class; its first row is filename,label")
    listed(tmp_path, "train.csv", ["a.png,a", "b.png,a"])
    refused(tmp_path, f"line 3 of {tmp_path / 'train.csv'}: {tmp_path / 'images' / 'b.png'} is mis")
    listed(tmp_path, "train.csv", ["a.png"])
    refused(tmp_path, "line 2 of", "it has no label")
    listed(tmp_path, "train.csv", ["a.png,a"])
    listed(tmp_path, "test.csv", ["a.png,a"])
    refused(tmp_path, "class a is in", "train.csv and in", "test.csv")
    listed(tmp_path, "test.csv", ["a.png,b"])
    refused(tmp_path, f"{tmp_path / 'images' / 'a.png'} is in", "train.csv and in", "test.csv")
    listed(tmp_path, "train.csv", ["a.png,a", "a.png,a"])
    refused(tmp_path, "a.png is in", "or twice in one")
    listed(tmp_path, "train.csv", ["a.png,a"])
    (tmp_path / "test.csv").write_bytes(b"filename,label\n\xff\xfe,a\n")
    refused(tmp_path, "test.csv cannot be read")


def test_lists_of_classes(tmp_path):
    """CIFAR-FS as its authors handed it out."""
    paint_classes(tmp_path / "data", "abcdefg")
    splits = tmp_path / "splits" / "bertinetto"
    splits.mkdir(parents=True)
    for name, classes in (("train", "gca"), ("val", "bd"), ("test", "ef")):
        (splits / f"{name}.txt").write_text("\n".join(classes) + "\n\n")
    family = image_folder(tmp_path, way=2)
    assert greys(family, "train") == {"data/a": {0}, "data/c": {2}, "data/g": {6}}
    assert greys(family, "validation") == {"data/b": {1}, "data/d": {3}}
    assert greys(family, "test") == {"data/e": {4}, "data/f": {5}}

    (splits / "test.txt").write_text("e\na")
    refused(tmp_path, "class a is in", "train.txt and in", "test.txt, or twice in one")
    for name in ("z", "../data/e", str(tmp_path / "data" / "e"), ".", "e," * 200):
        (splits / "test.txt").write_text(f"e\n{name}")
        refused(tmp_path, f"test.txt has the class {name[:80]}", "has no such folder")
    (tmp_path / "splits" / "another").mkdir()
    refused(tmp_path, "splits has 2 folders", "keep one")


def test_folders_that_are_none(tmp_path):
    refused(tmp_path / "nowhere", f"{tmp_path / 'nowhere'} is missing", "root/class/*.png")
    paint(tmp_path / "file.png")
    refused(tmp_path / "file.png", f"{tmp_path / 'file.png'} is not a folder")
    layouts = ("root/class/*.png", "root/{train,val,test}/class/*.png", "images_background")
    refused(tmp_path, f"{tmp_path} has no folders with images", *layouts)
    paint_classes(tmp_path / "deep" / "er", "abc")
    refused(tmp_path, f"{tmp_path} has no folders with images", *layouts)
    (tmp_path / "omniglot" / "images_background").mkdir(parents=True)
    refused(tmp_path / "omniglot", "images_background has no alphabet/character folders", *layouts)


def test_a_table_beside_folders_of_classes_is_another_file(tmp_path):
    paint_classes(tmp_path, "abc")
    listed(tmp_path, "train.csv", ["7,x"], header="id,label")
    assert image_folder(tmp_path, way=2, fractions=(1.0, 0, 0)).names == ["a", "b", "c"]
