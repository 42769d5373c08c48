"""`rlmaml render`: the frames of videos as they were written, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from envs.navigation import rendering
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from runners import environments
from runners.command_line import cli
from runners.rendering import captions, video, video_file
from runners.rendering.adaptation import Adaptation
from runners.run_dir import RunDir
from tests.helpers.frames import WITHOUT, bluish, head, headless_environment, pixels
from tests.helpers.runs import TINY, tiny

pytestmark = pytest.mark.slow

SIZE = 160


def frames_of(path):
    """[n, height, width, 3], and frames a second."""
    if path.suffix == ".gif":
        with Image.open(path) as file:
            rate = 1000 / file.info["duration"]
            frames = []
            for i in range(file.n_frames):
                file.seek(i)
                frames.append(np.asarray(file.convert("RGB")))
        return np.stack(frames), rate
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    read = ffmpeg.read_frames(str(path))
    about = next(read)
    width, height = about["size"]
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in read]
    return np.stack(frames), about["fps"]


def panels(frames):
    """The pictures left and right, without captions, [n, SIZE, SIZE, 3] each."""
    top = captions.caption_height(SIZE)
    pictures = frames[:, top : top + SIZE]
    return pictures[:, :, :SIZE], pictures[:, :, -SIZE - SIZE % 2 :][:, :, -SIZE:]


def difference(one, other):
    return np.abs(one.astype(int) - other).mean()


@pytest.mark.usefixtures("opengl")
class TestRobots:
    @pytest.mark.parametrize(("suffix", "steps", "rate"), [(".mp4", 4, 25), (".gif", 7, 100 / 7)])
    def test_before_and_after_side_by_side(self, runs, tmp_path, suffix, steps, rate):
        out = tmp_path / "videos" / f"goal{suffix}"
        result = video.render(runs["vel"].path, task=(1.5,), out=out, size=SIZE, episodes=3)
        frames, played = frames_of(out)
        assert len(frames) == result.frames == 1 + -(-22 // steps)
        assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
        assert frames.shape[2] >= 2 * SIZE
        assert played == pytest.approx(rate, rel=0.01) == result.rate
        assert frames.std((1, 2, 3)).min() > 20  # not black
        left, right = panels(frames)
        assert difference(left[0], right[0]) < (3 if suffix == ".mp4" else 0.1)  # the same state
        assert difference(left[-1], right[-1]) > 2
        assert difference(left[0], left[-1]) > 2
        top = captions.caption_height(SIZE)
        assert difference(frames[0, :top], frames[-1, :top]) > 1  # the return so far
        middle = SIZE // 2
        for picture in (*left, *right):
            assert pixels(picture, "green").max() - middle > 10  # the goal, to the right
        assert result.tasks == ("goal 1.50 m/s",)
        assert [path.name for path in out.parent.iterdir()] == [out.name]

    def test_returns_are_those_of_episodes_that_nobody_watches(self, runs, tmp_path):
        result = video.render(
            runs["vel"].path, task=(0.5,), out=tmp_path / "x.gif", size=32, episodes=3, seed=2
        )
        adaptation = Adaptation(runs["vel"], None, 3, 2)
        for steps, total in enumerate(result.returns[0]):
            env = environments.make_single(adaptation.config)
            env.unwrapped.set_task(np.array([0.5]))
            policy = adaptation.policy(np.array([0.5]), steps)
            observation, _ = env.reset(seed=2)
            rewards, ended = [], False
            while not ended:
                observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
                rewards.append(reward)
                ended = terminated or truncated
            assert sum(rewards) == pytest.approx(total, rel=1e-12)

    def test_without_a_task_both_directions(self, runs, capsys):
        cli.main(["render", str(runs["dir"].path), "--size", str(SIZE), "--episodes", "2"])
        printed = capsys.readouterr()
        assert "goal: forward: return" in printed.out
        assert "goal: backward: return" in printed.out
        path = runs["dir"].path / "videos" / "task-0_1-steps-1.mp4"
        if not video_file.can_mp4():
            path = path.with_suffix(".gif")
        assert f"Written: {path} (14 frames" in printed.out
        assert not printed.err
        frames, _ = frames_of(path)
        left, _ = panels(frames)
        heads = [np.median([head(frame) for frame in half]) for half in (left[:7], left[7:])]
        assert heads[0] > 5
        assert heads[1] < -5

    def test_a_held_out_task_is_drawn_by_the_seed(self, runs):
        first, second, again = (
            video.render(runs["vel"].path, size=32, episodes=1, steps=0, seed=seed).path
            for seed in (0, 1, 0)
        )
        assert first == again != second
        task = environments.make_env(runs["vel"].read_config(), 1, 1).sample_tasks(
            1, generator(0, 0, 2), split="test"
        )
        assert first.stem == f"task-{task.item():.4g}-steps-0"


def where(frame, color, tolerance):
    """The middle of a color on the plane."""
    rows, columns = np.nonzero((np.abs(frame.astype(int) - color) < tolerance).all(2))
    half = len(frame) / 2
    return 0.65 * np.array([columns.mean() + 0.5 - half, half - rows.mean() - 0.5]) / half


def test_navigation_shows_the_goal_and_what_was_learned_from(runs, tmp_path):
    out = tmp_path / "goal.gif"
    words = ["--task", "0.4", "-0.3", "--out", str(out), "--size", str(SIZE), "--episodes", "2"]
    cli.main(["render", str(runs["nav"].path), *words])
    frames, rate = frames_of(out)
    assert rate == 10
    assert len(frames) == 23
    left, right = panels(frames)
    for picture in (left[0], right[0], right[-1]):
        np.testing.assert_allclose(where(picture, rendering.GOAL, 50), [0.4, -0.3], atol=0.05)
        assert bluish(picture).sum() > 20
    assert difference(left[0], right[0]) > 0.2  # others were sampled after adaptation
    assert difference(left[0], left[-1]) > 0.2


def users(out, name):
    words = ("--env.id", f"tests.helpers.drawing:{name}-v0", "--env.kwargs", "{}")
    cli.main(["train", "navigation", "--out", str(out), *TINY, "--iterations", "1", *words])
    return RunDir(out)


def test_a_users_environment_draws_itself(tmp_path):
    out = tmp_path / "x.gif"
    video.render(users(tmp_path / "run", "Drawn").path, task=(0.5,), out=out, size=SIZE)
    frames, rate = frames_of(out)
    assert rate == 10  # every second of its steps of 0.05 s
    left, right = panels(frames)
    np.testing.assert_array_equal(left[:, SIZE // 2, SIZE // 2, 0], [0, 20, 40, 60])
    np.testing.assert_array_equal(left, right)
    assert (left[:, 10] > 200).all()  # 60 x 30 pixels, fitted into the square


def test_what_cannot_be_rendered(runs, tmp_path, monkeypatch):
    def refused(folder, match, **options):
        with pytest.raises(ConfigError, match=match):
            video.render(folder.path, **options)

    refused(users(tmp_path / "undrawn", "Undrawn"), r"render_modes are \['ansi'\]")
    table = tiny(tmp_path / "table", "--iterations", 1, preset="bandit")
    refused(table, r"BernoulliBandit-v0 does not draw .* render_modes are \[\]")
    vel = runs["vel"]
    refused(vel, r"--task \[5.0\] is no point of the task space Box", task=(5,))
    refused(runs["dir"], "integers for each; got", task=(0.5,))
    refused(runs["dir"], "is no point", task=(0, 2))
    refused(runs["nav"], "2 numbers for each", task=(0.1, 0.2, 0.3))
    refused(vel, "--size must be at least 32", size=8)
    refused(vel, r"must end in \.mp4 or \.gif", out=tmp_path / "x.avi")
    refused(RunDir(tmp_path / "none"), "not a run folder")
    refused(vel, "There is no checkpoint", checkpoint=tmp_path / "none")
    (tmp_path / "file").write_text("")
    refused(
        runs["nav"],
        "Cannot write .*: (Not a directory|File exists)",
        size=32,
        episodes=1,
        out=tmp_path / "file" / "x.gif",
    )
    monkeypatch.setattr(video_file, "can_mp4", lambda: False)
    refused(
        vel, r"needs imageio-ffmpeg: pip install .* \S*x\.gif for a GIF", out=tmp_path / "x.mp4"
    )
    made = video.render(runs["nav"].path, size=32, episodes=1, task=(0.25, 0.5))
    assert made.path == runs["nav"].path / "videos" / "task-0.25_0.5-steps-3.gif"


def test_environments_are_closed_where_something_fails(runs, made, monkeypatch):
    real = environments.make_single

    def second_fails(config, **drawing):
        if made and drawing:
            raise ConfigError("no second one")
        return real(config, **drawing)

    with monkeypatch.context() as patched:
        patched.setattr(environments, "make_single", second_fails)
        with pytest.raises(ConfigError, match="no second one"):
            video.render(runs["nav"].path, size=32, episodes=1)
    assert [env.closed for env in made] == [True]
    with pytest.raises(ValueError):
        Adaptation(runs["nav"], None, 1, 0).policy("no task", 0)
    assert [env.closed for env in made] == [True, True]


TRAINS_THEN_RENDERS = """
import json, os, sys
from runners.command_line import cli
out, words = sys.argv[1], json.loads(sys.argv[2])
cli.main(["train", "half-cheetah-vel", "--out", out, *words])
assert "MUJOCO_GL" not in os.environ
assert not any("OpenGL" in name for name in sys.modules), "training needs no OpenGL"
cli.main(["render", out, "--task", "1.5"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is chosen on Linux")
def test_without_opengl_training_works_and_rendering_says_what_to_install(tmp_path):
    words = [*TINY, "--iterations", "1"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + TRAINS_THEN_RENDERS, tmp_path / "run", json.dumps(words)],
        env=headless_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("rlmaml: Cannot draw with OpenGL by egl")
    assert "apt install libegl1 libgl1 libgl1-mesa-dri" in line
    assert not (tmp_path / "run" / "videos").exists()
