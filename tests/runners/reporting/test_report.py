"""The page on what runs have learned: its contents."""

import base64
import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners import formatting, presets
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.rendering import video as render_module
from runners.reporting import figures
from runners.reporting.report import report
from runners.run_dir import RunDir
from tests.helpers.reports import HOSTILE, hostile, rewrite
from tests.helpers.runs import TINY, evaluated, run

pytestmark = pytest.mark.slow

OLD_RUNS = Path(__file__).parents[2] / "data" / "runs"


@pytest.fixture
def undrawn(monkeypatch):
    """Pages with blank pictures, which take no time."""
    variant = figures.Variant("data:,", 1, 1)
    blank = dict.fromkeys(("light", "dark", "light_narrow", "dark_narrow"), variant)

    def embed(draw, *, alt, caption):
        return figures.EmbeddedFigure(**blank, alt=alt, caption=caption)

    monkeypatch.setattr(figures, "embed", embed)


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
    decimals = formatting.digits("return", result["mean"])
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
    assert "rlmaml train " in page.text
    assert "rlmaml evaluate runs/navigation/seed-0 --against random --tasks 5" in page.text
    assert "rlmaml render runs/navigation/seed-0" in page.text  # there is no video
    assert str(runs) not in (folder / "report.html").read_text()
    run("report", folder, "--out", folder / "again.html", "--quiet")
    assert (folder / "again.html").read_text() == (folder / "report.html").read_text()


def test_kinds_of_task_that_were_seen_are_not_called_new(runs, undrawn):
    place = runs / "dir"
    run("train", "half-cheetah-dir", "--out", place, *TINY, "--quiet")
    evaluated(RunDir(place), tasks=4, episodes=2, steps=1)
    page = read(report((place,), quiet=True).path)
    assert "never seen" not in page.text
    assert "4 tasks of the 2 kinds that there are, seen in training" in page.text


def test_several_seeds_are_one_method(runs, undrawn):
    out = report(tuple(runs / "navigation" / f"seed-{seed}" for seed in (0, 1)), quiet=True).path
    assert out == runs / "navigation" / "report.html"
    page = read(out)
    result = json.loads((runs / "navigation" / "comparison.json").read_text())
    method = result["methods"]["meta-trained"]
    decimals = formatting.digits("return", method["mean"])
    for values in (method["mean"], *method["mean_ci95"], method["iqm"], *method["run_means"]):
        assert written(values[1], decimals) in page.text
    assert "seeds 0 and 1" in page.text
    assert "seed 1" in page.text
    assert "gap to oracle closed" in page.text
    assert f"{method['gap_closed'][1]:.0%}".replace("-", "−") in page.text
    assert "--against random oracle --tasks 5" in page.text


def test_several_runs_are_compared_if_they_have_not_been(runs, capsys, undrawn):
    places = [runs / "navigation" / f"seed-{seed}" for seed in (0, 1)]
    with pytest.raises(SystemExit):  # what others were compared in is not overwritten
        run("report", places[0], runs / "navigation" / "seed-1" / "baselines" / "random")
    assert "is of other runs" in capsys.readouterr().err
    (runs / "navigation" / "comparison.json").unlink()
    page = read(report(tuple(places), out=runs / "new" / "page.html", quiet=True).path)
    result = json.loads((runs / "new" / "comparison.json").read_text())
    assert written(result["methods"]["meta-trained"]["mean"][3], 1) in page.text
    assert "No baselines have been compared with" in page.text


def test_a_run_on_examples_with_its_curves(runs):
    page = read(report((runs / "sinusoid",), quiet=True).path)
    result = json.loads((runs / "sinusoid" / "evaluation.json").read_text())
    for mean in result["mean"]:
        assert written(mean, 3) in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert any("curves fitted" in alt and "after 3 steps" in alt for alt in alts)
    assert "10 examples of a task" in page.text
    assert "Lower is better" in page.text
    assert "--against random pretrained oracle" in page.text  # how to get baselines


def test_evaluations_are_made_where_they_are_missing_or_of_another_checkpoint(runs, undrawn):
    folder = RunDir(runs / "sinusoid")

    def reported():
        report((folder.path,), quiet=True)
        return json.loads(folder.evaluation.read_text())

    chosen = EvalConfig(tasks=3, steps=1, checkpoint=folder.checkpoints / "000030")
    evaluate_run(folder, chosen, quiet=True)
    os.utime(folder.evaluation, (0, 0))  # file times decide nothing
    assert reported()["iteration"] == 30  # by choice of an older checkpoint
    rewrite(folder.evaluation, lambda result: result.update(checkpoint=None))
    assert reported()["iteration"] == 60  # training has gone on since
    rewrite(folder.evaluation, lambda result: result.update(tasks=600, checkpoint_sha256="0" * 64))
    assert reported()["checkpoint_sha256"] != "0" * 64  # of other parameters
    folder.evaluation.unlink()
    assert reported()["tasks"] == 600


def test_scores_that_are_not_finite(runs):
    folder = RunDir(runs / "sinusoid")

    def diverge(result):
        result["mean"][2] = result["ci95"][2] = result["per_task"][0]["mse"][2] = None

    rewrite(folder.evaluation, diverge)
    assert "diverged" in read(report((folder.path,), quiet=True).path).text


def test_what_users_wrote_stays_text(runs, undrawn):
    folder = RunDir(runs / "sinusoid")
    hostile(folder)
    page = read(report((folder.path,), quiet=True).path)
    assert HOSTILE in page.text


@pytest.mark.parametrize("problem", [ImportError, OSError, ValueError, None])
def test_a_video_is_drawn_if_it_can_be(runs, problem, monkeypatch, capsys, undrawn):
    folder = RunDir(runs / "navigation" / "seed-0")

    def render(path, quiet):
        if problem is not None:
            raise problem("no display")
        (path / "videos").mkdir()
        frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
        frames[0].save(path / "videos" / "after-1-step.gif", append_images=frames[1:])

    monkeypatch.setattr(render_module, "render", render)
    page = read(report((folder.path,)).path)
    said = capsys.readouterr().err
    if problem is None:
        assert "Video: after 1 step" in [image["alt"] for image in page.all("img")]
        assert "There is no video" not in page.text
        assert "rlmaml render runs/navigation/seed-0" in page.text  # to make it again
    else:
        assert "There is no video" in page.text
        assert "no display" in said
    assert "no video" not in read(report((folder.path,), videos=False).path).text


def test_a_video_of_an_older_checkpoint_is_drawn_anew(runs, monkeypatch, undrawn):
    folder = RunDir(runs / "navigation" / "seed-0")
    (folder.path / "videos").mkdir(exist_ok=True)
    old = folder.path / "videos" / "task-0_0-steps-3.gif"
    Image.new("RGB", (32, 32)).save(old)
    newest = checkpoint.latest(folder.checkpoints).stat().st_mtime
    drawn = []
    monkeypatch.setattr(render_module, "render", lambda path, quiet: drawn.append(path))
    os.utime(old, (newest + 1, newest + 1))
    assert "task 0, 0" in read(report((folder.path,)).path).text
    assert not drawn
    os.utime(old, (newest - 1, newest - 1))
    assert "There is no video" in read(report((folder.path,)).path).text
    assert drawn == [folder.path]


def test_figures_of_two_evaluations_do_not_mix(runs, undrawn):
    folder = RunDir(runs / "navigation" / "seed-0")
    few = EvalConfig(tasks=3, episodes=2)
    compare_runs([folder], replace(few, steps=1), against=("random",), quiet=True)
    page = read(report((folder.path,), quiet=True).path)
    assert "random" in page.text
    assert "left out" not in page.text
    evaluate_run(folder, replace(few, steps=3, seed=7), quiet=True)
    page = read(report((folder.path,), quiet=True).path)
    assert "the comparison is left out" in page.text
    assert "the same network untrained" not in page.text


def test_a_comparison_of_other_runs_is_not_taken_for_theirs(runs, undrawn):
    """Though they are of the same seeds and call their method the same."""
    ours = tuple(runs / "navigation" / f"seed-{seed}" for seed in (0, 1))
    others = [RunDir(runs / f"other-{seed}") for seed in (0, 1)]
    for folder, seed in zip(others, (0, 1), strict=True):
        words = ("train", "half-cheetah-vel", "--out", folder.path, *TINY, "--seed", seed)
        run(*words, "--quiet")
    (runs / "navigation" / "comparison.json").unlink()
    few = EvalConfig(tasks=3, episodes=2, steps=1)
    compare_runs(others, few, out=runs / "navigation", quiet=True)
    with pytest.raises(ConfigError, match="is of other runs"):
        report(ours, quiet=True)


def test_methods_stand_beside_the_first(runs, undrawn):
    """What differs by more than the seed."""
    place = runs / "navigation" / "seed-0"
    settings = ("--inner.step-size", 0.02, "--quiet")
    run("train", "navigation", "--out", runs / "navigation" / "far", *TINY, *settings)
    folders = (runs / "navigation" / "far", place)
    page = read(report(folders, out=runs / "two.html", quiet=True).path)
    assert "Figures here are of inner.step_size 0.02" in page.text
    assert "inner.step_size 0.01" in page.text
    assert page.text.count("rlmaml train ") == 2


def test_a_baseline_is_reported_like_any_other(runs, undrawn):
    oracle = runs / "navigation" / "seed-0" / "baselines" / "oracle"
    page = read(report((oracle,), quiet=True).path)
    assert "Without adaptation the mean return is" in page.text
    assert "one model for all tasks" in page.text


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


@pytest.mark.parametrize("kind", ["episodes", "examples", "classes", "normalized", "step-sizes"])
def test_run_folders_of_an_earlier_version(kind, tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(render_module, "render", lambda path, quiet: None)
    folder = RunDir(shutil.copytree(OLD_RUNS / kind, tmp_path / kind))
    before = folder.evaluation.read_bytes()
    page = read(report((folder.path,), quiet=True).path)
    assert folder.evaluation.read_bytes() == before  # its evaluation is of its checkpoint
    result = json.loads(before)
    decimals = formatting.digits(result["metric"], result["mean"])
    for mean in result["mean"]:
        assert written(mean, decimals) in page.text
    again = f"rlmaml train --config runs/{kind}/config.json --out runs/{kind}-again"
    assert again in page.text
    assert f"rlmaml evaluate runs/{kind} --tasks 3 --steps 2" in page.text


def test_the_commands_that_made_it_are_shown_without_their_paths(runs, undrawn):
    folder = RunDir(runs / "navigation" / "seed-0")
    rewrite(
        folder.evaluation,
        lambda result: result.update(command=f"rlmaml evaluate {folder.path} --tasks 5 --quiet"),
    )
    (folder.path / "comparison.json").unlink()
    page = read(report((folder.path,), quiet=True).path)
    assert "rlmaml evaluate runs/navigation/seed-0 --tasks 5 --quiet" in page.text
    assert str(runs) not in page.text
