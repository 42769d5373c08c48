"""Letters of fonts: classes by what is drawn, splits by scripts, and what is kept of it."""

import unicodedata

import gymnasium
import numpy as np
import pytest

from envs.few_shot import glyphs
from tests.helpers.few_shot import SPLITS, rng

whole = glyphs.all_drawings.__wrapped__


@pytest.fixture
def drawings(few_glyphs):
    return few_glyphs()


def scripts(names):
    return {unicodedata.name(letter).split()[0] for name in names for letter in name}


def test_letters_that_look_alike_are_one_class(drawings):
    together = [set(name) for name in drawings.names]
    assert {"A", "Α"} in together
    assert {"B", "Β"} in together
    assert {"L", "Լ"} in together
    for alone in "DQIЖΓΔ":
        assert {alone} in together
    letters = [letter for name in drawings.names for letter in name]
    assert len(letters) == len(set(letters))


def test_drawings_are_of_their_class_and_differ(drawings):
    assert drawings.counts.min() >= 2 * 8
    ends = np.cumsum(drawings.counts)
    classes = np.split(drawings.images.astype(float).reshape(-1, 28 * 28), ends[:-1])
    for images in classes:
        assert len(np.unique(images, axis=0)) == len(images)
    # Of a hundred letters in the same font one is nearest to another drawing of it by no chance.
    first, others = (np.stack([images[i] for images in classes]) for i in (0, 1))
    nearest = ((first[:, None] - others) ** 2).sum(-1).argmin(1)
    assert (nearest == np.arange(len(classes))).mean() > 0.3


@pytest.mark.parametrize("held_out", ["scripts", "letters"])
def test_test_classes_are_of_another_script_or_left_out_letters(drawings, held_out):
    env = gymnasium.make("rlmaml/Glyphs-v0", held_out=held_out, way=3)
    family = env.unwrapped.examples
    names = {split: [family.names[k] for k in members] for split, members in family.splits.items()}
    assert all(scripts([name]) & {"LATIN", "CYRILLIC"} for name in names["train"])
    assert scripts(names["validation"]) == {"ARMENIAN"}
    if held_out == "scripts":
        assert scripts(names["test"]) == {"GREEK"}
        assert "AΑ" not in names["test"]
    else:
        assert all(scripts([name]) & {"LATIN", "CYRILLIC"} for name in names["test"])
        assert not set(names["test"]) & set(names["train"])
    for split in SPLITS:
        task = family.sample(1, rng(), split)
        assert set(task[0, :, 0]) <= set(family.splits[split])
        (support, _), (query, _) = family.episode(task, 1, 10, rng())
        assert support.shape == (1, 3, 1, 28, 28)
        assert query.min() >= 0.0
        assert query.max() <= 1.0


def test_the_training_classes_are_the_same_whatever_is_held_out(drawings):
    first, second = (glyphs.glyphs(held_out=each) for each in ("scripts", "letters"))
    assert first.splits["train"] == second.splits["train"]
    assert first.fingerprint != second.fingerprint


def test_another_pixel_is_another_fingerprint(drawings, monkeypatch):
    before = glyphs.glyphs().fingerprint
    images = drawings.images.copy()
    images[0, 0, 0] += 1
    changed = glyphs.Drawings(drawings.names, drawings.counts, images)
    monkeypatch.setattr(glyphs, "all_drawings", lambda: changed)
    assert glyphs.glyphs().fingerprint != before


def test_drawings_are_kept_and_drawn_again_where_the_file_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def draw(files):
        made.append(1)
        return glyphs.Drawings(
            ("a", "bβ"), np.array([1, 2]), np.eye(28, dtype=np.uint8)[None][[0] * 3]
        )

    monkeypatch.setattr(glyphs, "draw", draw)
    first, again = whole(), whole()
    assert made == [1]
    assert again.names == first.names == ("a", "bβ")
    np.testing.assert_array_equal(again.counts, first.counts)
    np.testing.assert_array_equal(again.images, first.images)
    (kept,) = (tmp_path / "rlmaml").iterdir()
    kept.write_bytes(kept.read_bytes()[:-20])
    assert whole().names == first.names
    assert made == [1, 1]
    kept.unlink()
    kept.parent.rmdir()
    (tmp_path / "rlmaml").write_text("a file where the folder would be")
    assert whole().names == first.names
    assert made == [1, 1, 1]


def test_strokes_grow_and_shrink():
    ink = np.zeros((9, 9), np.uint8)
    ink[3:6, 3:6] = 255
    assert (glyphs._stroked(ink, 1) > 0).sum() > 9
    assert (glyphs._stroked(ink, -1) > 0).sum() == 1
    np.testing.assert_array_equal(glyphs._stroked(ink, 0), ink)


def test_an_unknown_word_for_what_is_held_out_is_refused():
    with pytest.raises(ValueError, match="held_out is 'scripts' or 'letters', got 'fonts'"):
        gymnasium.make("rlmaml/Glyphs-v0", held_out="fonts")
