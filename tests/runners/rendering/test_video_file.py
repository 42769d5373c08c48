"""Video files: their rate, and what is left where writing fails."""

import pytest
from PIL import Image

from rlmaml.errors import ConfigError
from runners.rendering import video_file


def test_real_time():
    def strides(suffix, intervals):
        return [video_file.steps_per_frame(interval, suffix) for interval in intervals]

    assert strides(".mp4", (0.01, 0.02, 0.05, 1 / 30, 0.1)) == [4, 2, 1, 1, 1]
    assert strides(".gif", (0.01, 0.05, 0.1)) == [7, 2, 1]


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path, suffix):
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / f"x{suffix}"
    path.write_text("older")

    def interrupted():
        with video_file.writing(path, 10) as write:
            write(Image.new("RGB", (32, 32)))
            raise RuntimeError("the policy diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        interrupted()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


def test_wide_pictures_are_reduced_in_a_gif(tmp_path):
    with video_file.writing(tmp_path / "x.gif", 10) as write:
        for color in ("red", "blue", "blue"):
            write(Image.new("RGB", (964, 500), color))
    with Image.open(tmp_path / "x.gif") as file:
        assert (file.size, file.info["duration"], file.info["loop"]) == ((482, 250), 100, 0)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "x.gif").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        video_file.check_format(tmp_path / "x.gif")
