"""How plots look, and where they go."""

import itertools

import numpy as np
import pytest
from matplotlib import colors, pyplot
from PIL import Image

from runners import plotting

pytestmark = pytest.mark.pictures


def lightness(color):
    """The grey that a color is printed in, from 0 to 255."""
    return 255 * np.dot(colors.to_rgb(color), [0.299, 0.587, 0.114])


def test_before_and_after_differ_in_grey():
    assert abs(lightness(plotting.BEFORE) - lightness(plotting.AFTER)) > 20


def test_methods_have_a_color_each():
    rgb = [np.array(colors.to_rgb(color)) for color in plotting.METHODS]
    for one, other in itertools.combinations(rgb, 2):
        assert np.linalg.norm(one - other) > 0.15


def test_a_blank_plot_is_known_to_no_global_state():
    before = pyplot.get_fignums()
    figure, axes = plotting.blank()
    assert figure.axes == [axes]
    assert not axes.lines
    assert pyplot.get_fignums() == before


def test_a_figure_is_written_into_folders_that_are_made(tmp_path):
    figure, axes = plotting.blank()
    axes.plot([0, 1], [0, 1], color=plotting.AFTER)
    path = tmp_path / "plots" / "more" / "line.png"
    plotting.save(figure, path)
    with Image.open(path) as image:
        assert image.size == tuple((figure.get_size_inches() * figure.dpi).astype(int))
        shades = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
    expected = np.round(255 * np.array(colors.to_rgb(plotting.AFTER)))
    assert (abs(shades - expected).max(1) <= 1).any()  # the line is there


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_the_suffix_decides_the_format(tmp_path, suffix):
    plotting.save(plotting.blank()[0], tmp_path / f"plot.{suffix}")
    start = {"svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"plot.{suffix}").read_bytes().startswith(start)


def test_a_figure_is_handed_over_where_a_function_is_given(tmp_path):
    figures = []
    figure, _ = plotting.blank()
    plotting.save(figure, figures.append)
    assert figures == [figure]
    assert not any(tmp_path.iterdir())
