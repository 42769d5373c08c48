"""Consoles, names of paths and disks as people have them: nothing computed is lost for a letter."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys

import pytest

from rlmaml import checkpoint
from runners import formatting
from runners.command_line import cli, console
from runners.plotting import blank, save
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, refused, run

pytestmark = [pytest.mark.slow, pytest.mark.pictures]

EVALUATE = ("--tasks", 2, "--steps", 1, "--quiet")

# Consoles.


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "koi8-r"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_every_letter_can_be_said(monkeypatch, encoding, errors):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    console.prepare()
    print("1 ± 2 → −3 ‖ é 字", os.fsdecode(b"r\xff"))
    stream.flush()
    shown = written.getvalue().decode(encoding)
    assert shown.endswith("\\udcff\n")
    if encoding == "ascii":
        assert shown.startswith("1 +- 2 -> -3 || \\xe9 \\u5b57")


def test_an_evaluation_outlives_a_console_without_its_letters(folder, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    run("evaluate", folder.path, *EVALUATE)
    sys.stdout.flush()
    assert b"+-" in written.getvalue()
    assert (folder.plots / "adaptation.png").exists()


# Paths.

ODD = [os.fsdecode(b"r\xff\xfe"), "-r → ±\nr", "r\x1b[31m $\\bad{$ '\"&<b>"]


@pytest.mark.parametrize("name", ODD)
def test_a_run_of_any_name_is_trained_and_read(trained, tmp_path, name, capsys):
    shutil.copytree(trained.path, tmp_path / name)
    place = tmp_path / name
    run("train", "--resume", place, "--iterations", 5, "--quiet")
    run("evaluate", place, trained.path, "--out", place / "both", *EVALUATE)
    for command in (("export", place, place / "x.zip"), ("report", place, "--no-videos")):
        run(*command)
    assert json.loads((place / "both" / "comparison.json").read_text())
    capsys.readouterr()


def test_a_name_that_is_no_text_can_start_a_run_and_a_tracker_is_refused_first(tmp_path, capsys):
    place = tmp_path / os.fsdecode(b"\xff")
    words = ("train", "navigation", "--out", place, *TINY, "--iterations", 1)
    assert "whose name is not UTF-8" in refused(capsys, *words, "--track", "tensorboard")
    assert not place.exists()
    run(*words, "--quiet")
    assert RunDir(place).read_config().iterations == 1


@pytest.mark.parametrize("text", ["$\\bad{$", "a $x$ b", "\udcff", "\x1b[31m", "\x00"])
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_names_are_drawn_as_they_are(tmp_path, text, kind):
    figure, axes = blank()
    axes.plot([0, 1], label=text)
    axes.set(title=text, xlabel=text, yscale="log")
    axes.set_xticks([0, 1], [formatting.kind(text), "b"])
    axes.legend()
    save(figure, tmp_path / f"x.{kind}")
    assert (tmp_path / f"x.{kind}").stat().st_size > 1000


# Disks.


def test_what_was_measured_is_shown_where_it_cannot_be_written(folder, capsys):
    folder.evaluation.unlink(missing_ok=True)
    folder.evaluation.mkdir()
    with pytest.raises(SystemExit) as stop:
        run("evaluate", folder.path, *EVALUATE)
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert "all tasks" in shown.out
    assert "Written" not in shown.out
    assert shown.err.startswith(f"rlmaml: Cannot write {folder.evaluation}: ")
    assert len(shown.err.splitlines()) == 1


def test_a_comparison_is_shown_where_a_run_cannot_be_written(folder, trained, tmp_path, capsys):
    folder.evaluation.unlink(missing_ok=True)
    folder.evaluation.mkdir()
    with pytest.raises(SystemExit):
        run("evaluate", folder.path, trained.path, "--out", tmp_path / "both", *EVALUATE)
    shown = capsys.readouterr()
    assert "seed 0" in shown.out or "mean" in shown.out
    assert shown.err.startswith("rlmaml: Cannot write")
    assert (tmp_path / "both" / "comparison.json").exists()


def test_a_disk_that_fills_up_keeps_what_was_written_before(folder, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(SystemExit) as stop:
        run("evaluate", folder.path, *EVALUATE)
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert "No space left" in shown.err
    assert "all tasks" in shown.out
    assert folder.evaluation.exists()
    assert [each.name for each in folder.path.glob(".*")] == [".lock"]  # and nothing half-written


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_line_of_any_command(monkeypatch, capsys, number):
    def full():
        raise OSError(number, os.strerror(number), "place")

    monkeypatch.setattr(cli, "_function", lambda location: full)
    assert refused(capsys, "list") == f"rlmaml: place: {os.strerror(number)}."


def test_a_run_is_read_where_nothing_can_be_written(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError

    for name in ("mkdir", "write_bytes", "write_text", "touch", "unlink"):
        monkeypatch.setattr(f"pathlib.Path.{name}", refuse)
    assert folder.read_config()
    assert folder.read_metrics()
    assert checkpoint.load(checkpoint.locate(folder.path)).iteration == 4
