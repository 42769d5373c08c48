"""The page on what runs have learned: its contents, and how a browser shows it."""

import base64
import dataclasses
import json
import os
import re
import shlex
import shutil
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlmaml import checkpoint
from runners import compare, evaluate, options, pictures, plots, presets, reproduce, wording
from runners import report as report_module
from runners.config import changes
from runners.errors import UsageError
from runners.report import report
from runners.runfolder import RunFolder
from tests import browser
from tests.runners.test_cli import TINY, run

FEW = {"tasks": 5, "episodes": 2, "steps": 2, "quiet": True}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Run folders: two seeds of navigation with their baselines, a sinusoid."""
    root = tmp_path_factory.mktemp("runs")
    navigation = root / "navigation"
    run("train", "navigation", "--out", navigation, *TINY, "--seeds", 0, 1, "--quiet")
    seeds = [RunFolder(navigation / f"seed-{seed}") for seed in (0, 1)]
    compare.compare(seeds, against=("random", "oracle"), **FEW)
    compare.compare(seeds[:1], against=("random",), **FEW)
    sinusoid = RunFolder(root / "sinusoid")
    settings = ("--iterations", 60, "--policy.hidden", 8, "--log-every", 10, "--quiet")
    run("train", "sinusoid", "--out", sinusoid.path, *settings, "--checkpoint-every", 30)
    evaluate.evaluate(sinusoid, tasks=20, steps=3, quiet=True)
    return root


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of one's own of the run folders, and nothing that draws videos of them."""
    monkeypatch.setitem(sys.modules, "runners.render", None)
    return shutil.copytree(trained, tmp_path / "runs")


@pytest.fixture
def undrawn(monkeypatch):
    """Pages with blank pictures, which take no time."""
    variant = pictures.Variant("data:,", 1, 1)
    blank = dict.fromkeys(("light", "dark", "light_narrow", "dark_narrow"), variant)

    def picture(*arguments, alt, caption, **more):
        return pictures.Picture(**blank, alt=alt, caption=caption)

    monkeypatch.setattr(pictures, "picture", picture)


class Page(HTMLParser):
    """What the tests look at: elements with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def read(path):
    """The page, after what holds for every one."""
    text = path.read_text()
    assert len(text) < 3_000_000
    page = Page(text)
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert page.all("script") == []
    for image in page.all("img"):
        assert re.search(r"\w \w", image["alt"])
    for _, attributes in page.elements:
        for name in ("src", "srcset", "href", "poster", "data"):
            assert re.match("data:|#", attributes.get(name, "#"))
    assert not re.search(r"url\(|@import", text)
    for picture in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text):
        assert not re.search(r"(href|src)=.http|<image", base64.b64decode(picture).decode())
    assert all("scope" in header for header in page.all("th"))
    return page


def written(number, decimals):
    return f"{number:.{decimals}f}".replace("-", "−")


def test_a_run_on_episodes(runs, capsys):
    folder = runs / "navigation" / "seed-0"
    run("report", folder, "--quiet")
    assert f"Written: {folder}/report.html" in capsys.readouterr().out
    page = read(folder / "report.html")
    result = json.loads((folder / "evaluation.json").read_text())
    decimals = wording.digits("return", result["mean"])
    for mean, half in zip(result["mean"], result["ci95"], strict=True):
        assert written(mean, decimals) in page.text
        assert f"± {written(half, decimals)}" in page.text
    comparison = json.loads((folder / "comparison.json").read_text())
    for name in ("meta-trained", "random"):
        assert written(comparison["methods"][name]["iqm"][2], decimals) in page.text
    alts = " ".join(image["alt"] for image in page.all("img"))
    assert "random " + written(comparison["methods"]["random"]["mean"][0], decimals) in alts
    assert re.search(r"Return after adaptation (rises|falls) from −", alts)
    assert "Return of each of 5 tasks" in alts
    assert presets.PRESETS["navigation"][0] in page.text
    assert "rlmaml train navigation --iterations 4" in page.text
    assert "rlmaml evaluate runs/navigation/seed-0 --against random --tasks 5" in page.text
    assert "rlmaml render runs/navigation/seed-0" in page.text  # there is no video
    assert str(runs) not in (folder / "report.html").read_text()
    run("report", folder, "--out", folder / "again.html", "--quiet")
    assert (folder / "again.html").read_text() == (folder / "report.html").read_text()


def test_kinds_of_task_that_were_seen_are_not_called_new(runs, undrawn):
    place = runs / "dir"
    run("train", "half-cheetah-dir", "--out", place, *TINY, "--quiet")
    evaluate.evaluate(RunFolder(place), tasks=4, episodes=2, steps=1, quiet=True)
    page = read(report([RunFolder(place)], quiet=True))
    assert "never seen" not in page.text
    assert "4 tasks of the 2 kinds that there are, seen in training" in page.text


def test_several_seeds_are_one_method(runs, undrawn):
    folders = [RunFolder(runs / "navigation" / f"seed-{seed}") for seed in (0, 1)]
    out = report(folders, quiet=True)
    assert out == runs / "navigation" / "report.html"
    page = read(out)
    result = json.loads((runs / "navigation" / "comparison.json").read_text())
    method = result["methods"]["meta-trained"]
    decimals = wording.digits("return", method["mean"])
    for values in (method["mean"], *method["mean_ci95"], method["iqm"], *method["run_means"]):
        assert written(values[1], decimals) in page.text
    assert "seeds 0 and 1" in page.text
    assert "seed 1" in page.text
    assert "gap to oracle closed" in page.text
    assert f"{method['gap_closed'][1]:.0%}".replace("-", "−") in page.text
    assert "--seeds 0 1 --out runs/navigation" in page.text
    assert "--against random oracle --tasks 5" in page.text


def test_several_runs_are_compared_if_they_have_not_been(runs, capsys, undrawn):
    places = [runs / "navigation" / f"seed-{seed}" for seed in (0, 1)]
    folders = list(map(RunFolder, places))
    with pytest.raises(SystemExit):  # what others were compared in is not overwritten
        run("report", places[0], runs / "navigation" / "seed-1" / "baselines" / "random")
    assert "is of other runs" in capsys.readouterr().err
    (runs / "navigation" / "comparison.json").unlink()
    page = read(report(folders, out=runs / "new" / "page.html", quiet=True))
    result = json.loads((runs / "new" / "comparison.json").read_text())
    assert written(result["methods"]["meta-trained"]["mean"][3], 1) in page.text
    assert "No baselines have been compared with" in page.text


def test_a_run_on_examples_with_its_curves(runs):
    page = read(report([RunFolder(runs / "sinusoid")], quiet=True))
    result = json.loads((runs / "sinusoid" / "evaluation.json").read_text())
    for mean in result["mean"]:
        assert written(mean, 3) in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert any("curves fitted" in alt and "after 3 steps" in alt for alt in alts)
    assert "10 examples of a task" in page.text
    assert "Lower is better" in page.text
    assert "--against random pretrained oracle" in page.text  # how to get baselines


def test_evaluations_are_made_where_they_are_missing_or_old(runs, undrawn):
    folder = RunFolder(runs / "sinusoid")
    evaluate.evaluate(folder, tasks=3, steps=1, checkpoint=folder.checkpoints / "000030")
    report([folder], quiet=True)  # by choice of an older checkpoint
    assert json.loads(folder.evaluation.read_text())["iteration"] == 30
    os.utime(folder.evaluation, (0, 0))
    report([folder], quiet=True)
    assert json.loads(folder.evaluation.read_text())["iteration"] == 60
    folder.evaluation.unlink()
    report([folder], quiet=True)
    assert json.loads(folder.evaluation.read_text())["tasks"] == 600


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_scores_that_are_not_finite(runs):
    folder = RunFolder(runs / "sinusoid")

    def diverge(result):
        result["mean"][2] = result["ci95"][2] = result["per_task"][0]["mse"][2] = None

    rewrite(folder.evaluation, diverge)
    assert "diverged" in read(report([folder], quiet=True)).text


HOSTILE = '"><script>document.title = "taken"</script><img src="https://example.org/x.png">'


def hostile(folder):
    def change(content):
        content["config"]["preset"] = HOSTILE
        content["config"]["env"]["id"] = HOSTILE
        content["init"] = HOSTILE

    rewrite(folder.path / "config.json", change)
    rewrite(folder.evaluation, lambda result: result.update(note=HOSTILE, preset=HOSTILE))


def test_what_users_wrote_stays_text(runs, undrawn):
    folder = RunFolder(runs / "sinusoid")
    hostile(folder)
    page = read(report([folder], quiet=True))
    assert HOSTILE in page.text


@pytest.mark.parametrize("problem", [ImportError, OSError, ValueError, None])
def test_a_video_is_drawn_if_it_can_be(runs, problem, monkeypatch, capsys, undrawn):
    folder = RunFolder(runs / "navigation" / "seed-0")

    def render(folder, quiet):
        if problem is not None:
            raise problem("no display")
        (folder.path / "videos").mkdir()
        frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
        frames[0].save(folder.path / "videos" / "after-1-step.gif", append_images=frames[1:])

    module = types.ModuleType("runners.render")
    module.render = render
    monkeypatch.setitem(sys.modules, "runners.render", module)
    page = read(report([folder]))
    said = capsys.readouterr().err
    if problem is None:
        assert "Video: after 1 step" in [image["alt"] for image in page.all("img")]
        assert "There is no video" not in page.text
        assert "rlmaml render runs/navigation/seed-0" in page.text  # to make it again
    else:
        assert "There is no video" in page.text
        assert "no display" in said
    assert "no video" not in read(report([folder], videos=False)).text


def test_a_video_of_an_older_checkpoint_is_drawn_anew(runs, monkeypatch, undrawn):
    folder = RunFolder(runs / "navigation" / "seed-0")
    (folder.path / "videos").mkdir(exist_ok=True)
    old = folder.path / "videos" / "task-0_0-steps-3.gif"
    Image.new("RGB", (32, 32)).save(old)
    newest = checkpoint.latest(folder.checkpoints).stat().st_mtime
    drawn = []
    module = types.ModuleType("runners.render")
    module.render = lambda folder, quiet: drawn.append(folder)
    monkeypatch.setitem(sys.modules, "runners.render", module)
    os.utime(old, (newest + 1, newest + 1))
    assert "task 0, 0" in read(report([folder])).text
    assert not drawn
    os.utime(old, (newest - 1, newest - 1))
    assert "There is no video" in read(report([folder])).text
    assert drawn == [folder]


def test_figures_of_two_evaluations_do_not_mix(runs, undrawn):
    folder = RunFolder(runs / "navigation" / "seed-0")
    settings = {"tasks": 3, "episodes": 2, "quiet": True}
    compare.compare([folder], against=("random",), steps=1, **settings)
    page = read(report([folder], quiet=True))
    assert "random" in page.text
    assert "left out" not in page.text
    evaluate.evaluate(folder, steps=3, seed=7, **settings)
    page = read(report([folder], quiet=True))
    assert "the comparison is left out" in page.text
    assert "the same network untrained" not in page.text


def test_a_comparison_of_other_runs_is_not_taken_for_theirs(runs, undrawn):
    """Though they are of the same seeds and call their method the same."""
    ours = [RunFolder(runs / "navigation" / f"seed-{seed}") for seed in (0, 1)]
    others = [RunFolder(runs / f"other-{seed}") for seed in (0, 1)]
    for folder, seed in zip(others, (0, 1), strict=True):
        words = ("train", "half-cheetah-vel", "--out", folder.path, *TINY, "--seed", seed)
        run(*words, "--quiet")
    settings = {"tasks": 3, "episodes": 2, "steps": 1, "quiet": True}
    (runs / "navigation" / "comparison.json").unlink()
    compare.compare(others, out=runs / "navigation", **settings)
    with pytest.raises(UsageError, match="is of other runs"):
        report(ours, quiet=True)


def test_what_a_video_is_called():
    name = pictures.video_name("task--0.37_0.2-steps-3")
    assert name == "task −0.37, 0.2, before adaptation (left) and after 3 steps (right)"
    assert pictures.video_name("my-own_one") == "my own one"


def test_a_picture_of_very_many_points_is_kept_as_png():
    def draw(path, title):
        figure, axes = plots._figure()
        axes.plot(np.random.default_rng(0).normal(size=20_000), "o")
        path(figure)

    picture = pictures.picture(draw, alt="Some points", caption="Points")
    assert picture.light.url.startswith("data:image/png")
    assert len(picture.light.url) < 400_000


def test_methods_stand_beside_the_first(runs, undrawn):
    """What differs by more than the seed."""
    place = runs / "navigation" / "seed-0"
    settings = ("--inner.step-size", 0.02, "--quiet")
    run("train", "navigation", "--out", runs / "navigation" / "far", *TINY, *settings)
    folders = [RunFolder(runs / "navigation" / "far"), RunFolder(place)]
    page = read(report(folders, out=runs / "two.html", quiet=True))
    assert "Figures here are of inner.step_size 0.02" in page.text
    assert "inner.step_size 0.01" in page.text
    assert page.text.count("rlmaml train navigation") == 2


def test_a_baseline_is_reported_like_any_other(runs, undrawn):
    oracle = RunFolder(runs / "navigation" / "seed-0" / "baselines" / "oracle")
    page = read(report([oracle], quiet=True))
    assert "Without adaptation the mean return is" in page.text
    assert "one model for all tasks" in page.text


def test_colours_of_pages_have_contrast():
    css = (Path(report_module.__file__).parent / "templates" / "report.css").read_text()
    for block in re.findall(r"--ground:[^}]*", css):
        colours = {
            name: [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
            for name, code in re.findall(r"--(\w+): #(\w{6});", block)
        }
        for ground in ("ground", "card"):
            for text in ("ink", "soft", "accent", "warm"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def test_videos_that_are_too_large_are_left_out(tmp_path):
    for age, (name, size) in enumerate({"a.mp4": 50, "b.mp4": 60, "c.webm": 30}.items()):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "notes.txt").write_text("no video")
    found = pictures.videos([tmp_path, tmp_path / "none"], limit=100)
    assert [video.caption for video in found.shown] == ["a", "c"]
    assert found.left_out == 1


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("known", [True, False])
def test_commands_make_the_same_settings(preset, known):
    more = ["--policy.hidden", "7", "9", "--chunk-size", "None", "--env.kwargs", '{"a": "b c"}']
    more += ["--optimiser.clip-norm", "2", "--normalise-observations", "True", "--seed", "3"]
    default = options.TrainOptions(presets.PRESETS[preset][1])
    wanted = options.parse(options.TrainOptions, default, more, "train").config
    named = wanted if known else dataclasses.replace(wanted, preset="mine")
    words = shlex.split(reproduce.train_command(named, "runs/x", init="runs/y"))
    assert words[:2] == ["rlmaml", "train"]
    assert words[2] == preset or not known
    base = options.TrainOptions(presets.PRESETS[words[2]][1])
    got = options.parse(options.TrainOptions, base, words[3:], "train")
    assert [change for change in changes(wanted, got.config) if "preset" not in change] == []
    assert got.config.iterations == wanted.iterations
    assert str(got.init) == "runs/y"


def test_the_command_of_an_evaluation(runs):
    folder = RunFolder(runs / "sinusoid")
    settings = {"tasks": 4, "steps": 2, "queries": 7, "step_size": 0.5, "seed": 3}
    made = evaluate.evaluate(
        folder, **settings, halve_later_steps=True, checkpoint=folder.checkpoints / "000030"
    )
    command = reproduce.evaluate_command(folder.read_config(), made, ["runs/sinusoid"])
    got = options.parse(options.EvaluateOptions, None, shlex.split(command)[2:], "evaluate")
    assert {name: getattr(got, name) for name in settings} == settings
    assert got.halve_later_steps
    assert str(got.checkpoint) == "runs/sinusoid/checkpoints/000030"


def test_run_folders_have_names_in_commands(tmp_path):
    assert reproduce.place(tmp_path / "vel") == "runs/vel"
    assert reproduce.place(tmp_path / "vel" / "seed-3") == "runs/vel/seed-3"
    assert reproduce.origin(str(tmp_path / "a" / "checkpoints" / "000010")) == (
        "runs/a/checkpoints/000010"
    )


def contrast(one, other):
    """Of two RGB colours, as WCAG 2 defines it."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return np.dot((0.2126, 0.7152, 0.0722), linear)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_of_pictures_show_in_the_dark():
    ground = np.array([20, 24, 28]) / 255
    for colour in (*plots.METHODS, "0.3", "0.4", "0.7"):
        assert contrast(pictures.for_dark(colour)[:3], ground) >= 4
    for colour in ("black", "0.15"):
        assert contrast(pictures.for_dark(colour)[:3], ground) >= 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "Name a run folder"),
        (["report", "/nonexistent"], "not a run folder"),
        (["report", "{runs}/sinusoid", "--out", "{runs}"], "is a folder"),
        (["report", "{runs}/sinusoid", "{runs}/navigation/seed-0"], "several families"),
        (["report", "{runs}/sinusoid", "--out", "/proc/x/report.html"], "Cannot write"),
    ],
)
def test_bad_input(words, message, runs, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*(word.format(runs=runs) for word in words))
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlmaml: ")
    assert message in error


def test_a_broken_evaluation_is_named(runs, capsys):
    (runs / "sinusoid" / "evaluation.json").write_text('{"mean"')
    with pytest.raises(SystemExit):
        run("report", runs / "sinusoid")
    assert "evaluation.json cannot be read" in capsys.readouterr().err
    (runs / "sinusoid" / "evaluation.json").write_text("{}")
    with pytest.raises(SystemExit):
        run("report", runs / "sinusoid")
    assert "has no metric" in capsys.readouterr().err


RECORD = """
return (async () => {
  const canvas = document.createElement("canvas"), chunks = [];
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  const type = ["video/mp4", "video/webm"].find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: type});
  recorder.ondataavailable = (event) => chunks.push(event.data);
  const stopped = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let i = 0; i < 10; i++) {
    pen.fillStyle = `hsl(${36 * i}, 80%, 50%)`;
    pen.fillRect(0, 0, 64, 64);
    await new Promise((done) => setTimeout(done, 30));
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  return [type, btoa(String.fromCharCode(...bytes))];
})();
"""

STATE = """
return (async () => {
  const videos = [...document.querySelectorAll("video")];
  for (const video of videos) await video.play();
  return {
    title: document.title,
    pictures: [...document.images].map((image) => [image.complete, image.naturalWidth]),
    variants: [...document.images].filter((image) => image.currentSrc !== image.src).length,
    videos: videos.map((video) => [video.error && video.error.message, video.readyState]),
    width: [document.documentElement.scrollWidth, innerWidth],
    ground: getComputedStyle(document.body).backgroundColor,
    outside: [...document.querySelectorAll("h1, h2, p, dl, figure, pre, .scroll")].filter(
      (element) => element.getBoundingClientRect().right > innerWidth).length,
    hidden: [...document.querySelectorAll(".scroll")].filter(
      (box) => box.scrollWidth > box.clientWidth
               && !["auto", "scroll"].includes(getComputedStyle(box).overflowX)).length,
  };
})();
"""


@pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs Chromium and chromedriver"
)
def test_in_a_browser(runs, tmp_path):
    """Nothing is fetched or complained of, all is shown, and a phone shows it without scrolling."""
    seeds = [RunFolder(runs / "navigation" / f"seed-{seed}") for seed in (0, 1)]
    videos = seeds[0].path / "videos"
    videos.mkdir()
    Image.new("RGB", (64, 64), "red").save(videos / "before.gif")
    sinusoid = RunFolder(runs / "sinusoid")
    hostile(sinusoid)
    with browser.chromium(tmp_path / "profile") as shown:
        blank = tmp_path / "blank.html"
        blank.write_text("<!doctype html><title>blank</title>")
        shown.open(blank)
        kind, clip = shown.run(RECORD)
        (videos / f"after.{kind.partition('/')[2]}").write_bytes(base64.b64decode(clip))
        shown.requests(), shown.console()
        for page, pictured in ((report(seeds, quiet=True), 4), (report([sinusoid], quiet=True), 3)):
            for width in (1280, 390):
                for dark in (False, True):
                    shown.open(page, width=width, dark=dark)
                    state = shown.run(STATE)
                    assert shown.console() == []
                    assert [url for url in shown.requests() if not url.startswith("data:")] == [
                        page.as_uri()
                    ]
                    assert len(state["pictures"]) == pictured
                    assert all(done and size > 0 for done, size in state["pictures"])
                    assert state["width"] == [width, width]
                    assert state["outside"] == state["hidden"] == 0
                    assert state["ground"] == ("rgb(20, 24, 28)" if dark else "rgb(253, 252, 250)")
                    # The phone's and the dark variant are other sources than the image's own.
                    others = 3 if dark or width == 390 else 0
                    assert state["variants"] == others
                    for error, ready in state["videos"]:
                        assert error is None
                        assert ready >= 2
            assert len(state["videos"]) == (pictured == 4)
            assert state["title"].endswith("– rlmaml")
