"""Pictures under captions, and side by side."""

import itertools

import numpy as np
import pytest

from runners.rendering import captions

RED = (255, 0, 0)
EMPTY = (("", ""), ("", ""))


def frame(height, width, color=RED):
    return np.full((height, width, 3), color, np.uint8)


def box(image, color):
    """Columns and rows that hold a color: left, top, right, bottom, the last two excluded."""
    rows, columns = np.nonzero((np.asarray(image) == color).all(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def ink(image, size):
    """Where the caption of a picture of `size` is darkest, as rows and columns."""
    strip = np.asarray(image.convert("L"))[: captions.caption_height(size)]
    return np.nonzero(strip < 128)


def test_a_picture_of_the_right_size_is_pasted_to_the_bit():
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
    panel = captions.with_caption(pixels, 64, EMPTY)
    strip = captions.caption_height(64)
    assert panel.size == (64, 64 + strip)
    np.testing.assert_array_equal(np.asarray(panel)[strip:], pixels)
    assert (np.asarray(panel)[:strip] == captions.PAPER).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, (0, 0, 64, 64)),
        (64, 32, (16, 0, 48, 64)),  # tall: space at both sides
        (50, 100, (0, 16, 64, 48)),
        (1, 1000, (0, 31, 64, 32)),  # never thinner than a pixel
    ],
)
def test_other_pictures_fit_the_square_and_stay_in_shape(height, width, expected):
    panel = captions.with_caption(frame(height, width), 64, EMPTY)
    strip = captions.caption_height(64)
    left, top, right, bottom = expected
    assert box(panel, RED) == (left, top + strip, right, bottom + strip)


def test_frames_that_are_views_are_drawn_as_they_look():
    pixels = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    turned = pixels[::-1]  # as OpenGL hands them over, not contiguous
    panel = captions.with_caption(turned, 64, EMPTY)
    np.testing.assert_array_equal(np.asarray(panel)[captions.caption_height(64) :], turned)


def test_texts_stand_left_and_right_in_two_lines():
    size = 200
    texts = (("MM", ""), ("", "MM"))
    rows, columns = ink(captions.with_caption(frame(size, size), size, texts), size)
    middle = captions.caption_height(size) / 2
    upper, lower = columns[rows < middle], columns[rows >= middle]
    assert upper.min() < 12
    assert upper.max() < 60
    assert lower.max() >= size - 12
    assert lower.min() > size - 60
    assert abs(np.ptp(lower) - np.ptp(upper)) <= 1  # none of it is cut off


def test_texts_of_a_small_picture_are_inside_the_caption():
    for size in (64, 100, 480):
        texts = (("Mg", "Mg"), ("Mg", "Mg"))
        panel = captions.with_caption(frame(size, size), size, texts)
        rows, _ = ink(panel, size)
        assert rows.min() >= 1
        assert rows.max() < captions.caption_height(size) - 1
        assert (np.asarray(panel)[captions.caption_height(size) :] == RED).all()


@pytest.mark.parametrize("size", [240, 480])
def test_a_long_label_is_a_line_of_its_own(size):
    label = "mass x0.31-2.9, friction x0.35-2.7, damping x0.47-2.2"
    texts = (("before adaptation", label), ("return -123.4", "velocity 0.00 m/s"))
    panel = captions.with_caption(frame(size, size), size, texts)
    rows, columns = ink(panel, size)
    strip = captions.caption_height(size)
    assert rows.max() < strip
    middle = (rows > strip * 0.4) & (rows < strip * 0.6)
    assert columns[middle].max() > 0.7 * size
    assert columns.max() < size - 1  # to its end
    upper = rows < strip * 0.25
    assert columns[upper].max() < size / 2  # nothing beside the title
    assert (np.asarray(panel)[strip:] == RED).all()
    shorter = captions.with_caption(frame(size, size), size, EMPTY)
    assert shorter.size == panel.size


@pytest.mark.parametrize("lines", [(("a", "b"),), (("a", "b"),) * 3])
def test_a_caption_has_two_lines(lines):
    with pytest.raises(ValueError, match="unpack"):
        captions.with_caption(frame(64, 64), 64, lines)


@pytest.mark.parametrize("size", [60, 61, 63, 121])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_row_has_even_sides_and_its_panels_in_order(size, count):
    shades = [(255, 0, 0), (0, 255, 0), (0, 0, 255)][:count]
    panels = [captions.with_caption(frame(size, size, shade), size, EMPTY) for shade in shades]
    row = captions.side_by_side(panels)
    assert row.width % 2 == row.height % 2 == 0
    spans = [box(row, shade)[::2] for shade in shades]
    assert spans[0][0] == 0
    assert all(right - left == size for left, right in spans)
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    assert all(gap == max(2, size // 60) for gap in gaps)
    assert row.width - spans[-1][1] <= 1
