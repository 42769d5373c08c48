"""Folders of images: layouts, what is read when, pixels, and every complaint."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from envs.few_shot.image_folder import ImageFolderError, image_folder
from tests.helpers.pictures import greys, paint, paint_classes, refused, rng


def test_other_files_and_hidden_ones_are_left_out(tmp_path):
    paint_classes(tmp_path, "abc")
    paint(tmp_path / "a" / "2.JPG", 0)
    paint(tmp_path / "a" / ".hidden.png", 200)
    paint(tmp_path / ".cache" / "0.png", 200)
    paint(tmp_path / "loose.png", 200)
    paint(tmp_path / "a" / "nested.png" / "0.png", 200)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    assert family.names == ["a", "b", "c"]
    assert greys(family, "train") == {"a": {0}, "b": {1}, "c": {2}}
    with pytest.raises(ImageFolderError, match=r"class b \(.*\) has 2 image"):
        family.check_episode(2, 1)
    paint(tmp_path / "b" / "2.webp", 1)
    paint(tmp_path / "c" / "2.bmp", 2)
    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    family.check_episode(2, 1)
    with pytest.raises(ImageFolderError, match=r"class a .* has 3 image"):
        family.check_episode(2, 2)


@pytest.fixture
def pictures(tmp_path):
    """Two classes of one picture twice, 6 x 4 pixels, of four colors in its quarters."""
    picture = np.zeros((4, 6, 3), dtype=np.uint8)
    picture[:2, :3], picture[:2, 3:] = (255, 0, 0), (0, 255, 0)
    picture[2:, :3], picture[2:, 3:] = (0, 0, 255), (255, 255, 255)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
    return tmp_path


def first_image(root, **parameters):
    family = image_folder(root, way=2, fractions=(1.0, 0, 0), **parameters)
    (inputs, _), _ = family.episode(family.default[None], 1, 1, rng())
    assert family.inputs.contains(inputs[0, 0])
    return inputs[0, 0]


def test_color_and_size(pictures):
    image = first_image(pictures, color=True, size=8)
    assert image.shape == (3, 8, 8)
    corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]].T
    np.testing.assert_array_equal(corners, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])


def test_grey_and_size(pictures):
    image = first_image(pictures, size=2)
    assert image.shape == (1, 2, 2)
    # ITU-R 601-2 luma, by which Pillow turns colors to grey; edges are blended by the resizing.
    exact = first_image(pictures, size=12)[0]
    luma = exact[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(luma, [0.299, 0.587, 0.114, 1.0], atol=1 / 255)
    assert first_image(pictures).shape == (1, 28, 28)


def test_kinds_of_files(tmp_path):
    def only(image, name, **settings):
        root = tmp_path / name
        for label in "ab":
            (root / label).mkdir(parents=True)
            for i in range(2):
                image.save(root / label / f"{i}.{name.split('-')[0]}", **settings)
        return first_image(root, size=6)

    half = Image.fromarray(np.repeat([[0, 0, 0, 255, 255, 255]], 6, axis=0).astype(np.uint8))
    expected = np.asarray(half, dtype=np.float32)[None] / 255
    for name in ("png", "bmp", "gif", "png-palette", "png-bits"):
        image = {"png-palette": half.convert("P"), "png-bits": half.convert("1")}.get(name, half)
        np.testing.assert_array_equal(only(image, name), expected)
    for name in ("jpg", "jpeg", "webp"):
        np.testing.assert_allclose(only(half, name), expected, atol=0.03)
    # What is transparent is paper, not ink.
    drawing = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    assert (only(drawing, "png-clear") == 1.0).all()
    # A camera that was held upright: its picture is turned by what the file says.
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = only(half, "png-upright", exif=exif)
    np.testing.assert_array_equal(turned[0], np.rot90(expected[0], -1))


def test_images_are_read_when_drawn_and_once(tmp_path, monkeypatch):
    paint_classes(tmp_path, "abcd", images=3)
    broken = tmp_path / "d" / "1.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    opened = []
    ours = Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or ours(path))

    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    assert opened == []
    tasks = np.array([[[0, 0], [1, 1]]])
    (inputs, _), _ = family.episode(tasks, 2, 1, rng())
    assert sorted(opened) == sorted(tmp_path / c / f"{i}.png" for c in "ab" for i in range(3))
    for seed in range(5):
        family.episode(np.array([[[1, 0], [0, 3]]]), 2, 1, rng(seed))
    assert len(opened) == 6
    np.testing.assert_array_equal(family.episode(tasks, 2, 1, rng())[0][0], inputs)

    with pytest.raises(ImageFolderError, match=re.escape(str(broken))):
        family.episode(np.array([[[2, 0], [3, 0]]]), 2, 1, rng())
    # Mended, it is read; what was read before it is not read again.
    paint(broken, 3)
    opened.clear()
    (inputs, labels), _ = family.episode(np.array([[[2, 0], [3, 0]]]), 2, 1, rng())
    assert broken in opened
    assert len(opened) == len(set(opened)) < 6
    np.testing.assert_array_equal(np.round(inputs[0, :, 0, 0, 0] * 255), labels[0] + 2)

    opened.clear()
    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    family.draw(tasks, 100, rng())  # the same images many times
    assert len(opened) == len(set(opened)) == 6


def test_copies_read_for_themselves(tmp_path):
    paint_classes(tmp_path, "abcdef", images=10)
    family = image_folder(tmp_path, way=2, size=200, fractions=(1.0, 0, 0))
    tasks = family.sample(2, rng())
    (expected, _), _ = family.episode(tasks, 1, 1, rng())
    pickled = pickle.dumps(family)
    assert len(pickled) < 1_000_000  # 60 images are 2.4 MB
    for clone in (pickle.loads(pickled), copy.deepcopy(family)):
        np.testing.assert_array_equal(clone.sample(2, rng()), tasks)
        np.testing.assert_array_equal(clone.episode(tasks, 1, 1, rng())[0][0], expected)


def test_progress_counts_the_images_read(tmp_path, monkeypatch):
    paint_classes(tmp_path, "abcd")
    bars = []

    class Bar:
        def __init__(self, **settings):
            self.settings, self.n = settings, settings["initial"]
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *problem):
            pass

        def update(self):
            self.n += 1

    monkeypatch.setattr("envs.few_shot.image_folder.tqdm", Bar)
    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    for _ in range(2):
        family.episode(np.array([[[0, 0], [1, 0]]]), 1, 1, rng())
    family.episode(np.array([[[1, 0], [2, 0]]]), 1, 1, rng())
    assert [(bar.settings["initial"], bar.n) for bar in bars] == [(0, 4), (4, 6)]
    for bar in bars:
        assert bar.settings["total"] == 8
        assert bar.settings["delay"] == bar.settings["position"] == 1
        assert bar.settings["leave"] is False


def test_classes_that_are_none(tmp_path):
    paint_classes(tmp_path, "abc")
    (tmp_path / "d").mkdir()
    refused(tmp_path, f"the class folder {tmp_path / 'd'} has no images")
    splits = tmp_path / "splits"
    paint_classes(splits / "train", "ab")
    (splits / "train" / "b" / "0.png").unlink()
    (splits / "train" / "b" / "1.png").unlink()
    refused(splits, f"the class folder {splits / 'train' / 'b'} has no images")
    paint_classes(splits / "val", "ab")
    paint_classes(splits / "validation", "ab")
    refused(splits, f"{splits} has both 'val' and 'validation'")


def test_splits_with_too_few_classes(tmp_path):
    paint_classes(tmp_path, "abcd")
    refused(tmp_path, f"{tmp_path} has 1 class(es) to validation, of 4 in all", "way=2")
    refused(tmp_path, "1 class(es) to train", fractions=(0.25, 0.25, 0.5))
    splits = tmp_path / "splits"
    paint_classes(splits / "train", "abc")
    paint_classes(splits / "test", "a")
    refused(splits, f"{splits} has 1 class(es) to test, of 4 in all: fewer than way=2")
    paint_classes(splits / "test", "bcd")
    refused(splits, f"{splits} has 3 class(es) to train, of 7 in all", way=4)


def test_a_class_with_too_few_images(tmp_path):
    paint_classes(tmp_path / "train", "ab", images=4)
    paint_classes(tmp_path / "test", "cd", images=3)
    family = image_folder(tmp_path, way=2)
    family.check_episode(1, 2)
    message = re.escape(f"class test/c ({tmp_path / 'test' / 'c'}) has 3 image(s), fewer than 2 ")
    with pytest.raises(ImageFolderError, match=message):
        family.check_episode(2, 2)


def test_broken_images_are_named(tmp_path):
    paint_classes(tmp_path, "ab", images=2)
    family = image_folder(tmp_path, way=2, fractions=(1.0, 0, 0))
    path = tmp_path / "a" / "0.png"
    deep = Image.fromarray(np.full((6, 6), 40_000, dtype=np.uint16))
    deep.save(path)
    with pytest.raises(ImageFolderError, match=f"{re.escape(str(path))} .*more than 8 bits"):
        family.episode(family.default[None], 1, 1, rng())
    paint(path)
    path.write_bytes(path.read_bytes()[:-30])  # cut short
    with pytest.raises(ImageFolderError, match=f"{re.escape(str(path))} cannot be read"):
        family.episode(family.default[None], 1, 1, rng())
    path.unlink()
    with pytest.raises(ImageFolderError, match=f"{re.escape(str(path))} cannot be read"):
        family.episode(family.default[None], 1, 1, rng())


def test_bad_parameters(tmp_path):
    paint_classes(tmp_path, "abc")
    with pytest.raises(ValueError, match="size is 0"):
        image_folder(tmp_path, size=0)
    for bad in [(0.5, 0.5), (0.0, 0.0, 1.0), (1.2, -0.2, 0.0)]:
        with pytest.raises(ValueError, match="fractions are those of"):
            image_folder(tmp_path, fractions=bad)


def test_a_link_to_a_class_is_not_another_class(tmp_path):
    """Or its images could be trained on under one name and tested on under the other."""
    paint_classes(tmp_path, "abcdefgh")
    image_folder(tmp_path, way=2, fractions=(0.5, 0.25, 0.25))
    (tmp_path / "z").symlink_to(tmp_path / "c", target_is_directory=True)
    with pytest.raises(ImageFolderError, match=r"z and .*c are the same folder"):
        image_folder(tmp_path, way=2, fractions=(0.5, 0.25, 0.25))
