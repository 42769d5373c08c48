"""Figures and videos inside a page."""

import os
import re
from pathlib import Path

import numpy as np

from runners.evaluation import plots
from runners.reporting import figures
from runners.reporting import report as report_module


def test_what_a_video_is_called():
    name = figures.video_name("task--0.37_0.2-steps-3")
    assert name == "task −0.37, 0.2, before adaptation (left) and after 3 steps (right)"
    assert figures.video_name("my-own_one") == "my own one"


def test_a_figure_of_very_many_points_is_kept_as_png():
    def draw(path):
        figure, axes = plots.blank()
        axes.plot(np.random.default_rng(0).normal(size=20_000), "o")
        path(figure)

    figure = figures.embed(draw, alt="Some points", caption="Points")
    assert figure.light.url.startswith("data:image/png")
    assert len(figure.light.url) < 400_000


def test_videos_that_are_too_large_are_left_out(tmp_path):
    for age, (name, size) in enumerate({"a.mp4": 50, "b.mp4": 60, "c.webm": 30}.items()):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "notes.txt").write_text("no video")
    found = figures.videos([tmp_path, tmp_path / "none"], limit=100)
    assert [video.caption for video in found.shown] == ["a", "c"]
    assert found.left_out == 1


def contrast(one, other):
    """Of two RGB colors, as WCAG 2 defines it."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return np.dot((0.2126, 0.7152, 0.0722), linear)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colors_of_pages_have_contrast():
    css = (Path(report_module.__file__).parent / "templates" / "report.css").read_text()
    for block in re.findall(r"--ground:[^}]*", css):
        colors = {
            name: [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
            for name, code in re.findall(r"--(\w+): #(\w{6});", block)
        }
        for ground in ("ground", "card"):
            for text in ("ink", "soft", "accent", "warm"):
                assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


def test_colors_of_figures_show_in_the_dark():
    ground = np.array([20, 24, 28]) / 255
    for color in (*plots.METHODS, "0.3", "0.4", "0.7"):
        assert contrast(figures.for_dark(color)[:3], ground) >= 4
    for color in ("black", "0.15"):
        assert contrast(figures.for_dark(color)[:3], ground) >= 10
