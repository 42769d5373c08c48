"""Training on labeled examples: resuming, what is refused, families of one's own."""

import json
import shutil

import pytest
import torch

from rlmaml import checkpoint, tree
from runners.command_line import cli
from runners.run_dir import RunDir
from tests.helpers.runs import assert_same_run, evaluated, learned, refused, run

pytestmark = pytest.mark.slow

TINY = ("--tasks", "4", "--checkpoint-every", "3", "--log-every", "2", "--threads", "1")


SMALL = ("--iterations", "6", "--policy.hidden", "8", "--conv.filters", "4", *TINY)


def tiny(preset, out, *more):
    run("train", preset, "--out", out, *SMALL, *more)
    return RunDir(out)


@pytest.mark.parametrize(
    "outer",
    [
        "--optimizer.name Adam --optimizer.schedule StepLR"
        """ --optimizer.schedule-kwargs {"step_size":2}""",
        """--optimizer.name SGD --optimizer.kwargs {"momentum":0.9} --optimizer.clip-norm 0.5""",
        "--outer trust-region",
    ],
)
def test_resumed_is_the_same_run(tmp_path, outer):
    outer = outer.split()
    whole = tiny("sinusoid", tmp_path / "whole", *outer, "--validation-tasks", "5")
    run("train", "sinusoid", "--out", tmp_path / "halves", *SMALL, *outer)  # without validating
    halves = RunDir(tmp_path / "halves")
    shutil.rmtree(halves.checkpoints / "000006")  # as though killed before it was written
    assert checkpoint.available(halves.checkpoints)[-1] == 3
    run("train", "--resume", halves.path)
    first, second = learned(whole), learned(halves)
    assert all(map(torch.equal, tree.leaves(first.meta), tree.leaves(second.meta)))
    again = tiny("sinusoid", tmp_path / "again", *outer)
    assert_same_run(again, halves)


def test_state_of_another_outer_step_is_refused(tmp_path, capsys):
    folder = tiny("sinusoid", tmp_path / "run")
    with pytest.raises(SystemExit):
        run("train", "--resume", folder.path, "--outer", "trust-region", "--iterations", "8")
    assert "outer: optimizer -> trust-region" in capsys.readouterr().err
    # A new run may start from its parameters.
    run("train", "sinusoid", "--out", tmp_path / "new", "--init", folder.path, *SMALL)


def test_joint_training_is_zero_inner_steps(tmp_path):
    folder = tiny("sinusoid", tmp_path / "run", "--inner.steps", "0")
    lines = folder.read_metrics()
    assert lines[-1]["mse/pre"] == lines[-1]["mse/post"]
    assert lines[-1]["env_steps"] == 6 * 4 * 10  # no support sets
    result = evaluated(folder, tasks=3, steps=1, step_size=1e-8)
    assert result["mean"][0] == pytest.approx(result["mean"][1], rel=1e-4)


def test_meta_training_learns_images(tmp_path, image_folder):
    """One step on classes never seen does far better than from random weights."""
    options = ("--env.kwargs", json.dumps({"root": str(image_folder), "way": 3, "size": 20}))
    options += ("--tasks", "8", "--conv.filters", "8", "--inner.steps", "1", "--log-every", "60")
    after = {}
    for iterations in (0, 60):
        out = tmp_path / str(iterations)
        run("train", "images", "--out", out, *options, "--iterations", iterations)
        after[iterations] = evaluated(RunDir(out), tasks=50, steps=1)["mean"]
    assert after[0][1] < 0.62
    assert after[60][0] < 0.45
    assert after[60][1] > 0.72


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        ("half-cheetah-vel", ["--data", "examples"], "no labeled examples"),
        ("sinusoid", ["--optimizer.name", "Adma"], "no 'Adma'"),
        ("sinusoid", ["--optimizer.kwargs", "3"], "JSON object"),
        ("sinusoid", ["--optimizer.name", "Muon"], "Muon"),
        (
            "sinusoid",
            [
                "--optimizer.schedule",
                "OneCycleLR",
                "--optimizer.schedule-kwargs",
                '{"max_lr":0.1,"total_steps":10}',
            ],
            "cannot go on",
        ),
        ("sinusoid", ["--examples.shots", "0"], "shots must be at least 1"),
        ("digits", ["--examples.shots", "500"], "500"),
        ("digits", ["--conv.downsample", "pool", "--conv.blocks", "4"], "cannot be halved"),
        ("digits", ["--data", "episodes", "--processes", "1"], "vectors"),
        ("images", [], "root"),
        ("text", [], "root"),
        ("text", ["--env.kwargs", '{"root": "/nonexistent.csv"}'], "/nonexistent.csv is missing"),
        ("docstrings", ["--examples.shots", "100"], "fewer than 100 shots"),
        ("docstrings", ["--env.observe-task", "True"], "token ids"),
        ("images", ["--env.kwargs", '{"root": "/nonexistent"}'], "/nonexistent"),
    ],
)
def test_bad_input_is_told_and_code_2(tmp_path, capsys, preset, options, message):
    assert message in refused(capsys, "train", preset, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_a_broken_image_is_named_and_costs_no_checkpoint(tmp_path, capsys, image_folder):
    root = tmp_path / "root"
    shutil.copytree(image_folder, root)
    options = ("--env.kwargs", json.dumps({"root": str(root), "way": 2}))
    options += ("--examples.queries", "1", "--validation-tasks", "0")
    options += ("--tasks", "1", "--conv.filters", "2", "--checkpoint-every", "1")
    folder = RunDir(tmp_path / "run")
    run("train", "images", "--out", folder.path, *options, "--iterations", "2")
    for image in sorted(root.glob("*/[3-7].png")):  # most of them, so that one is drawn soon
        image.write_bytes(b"no image")
    with pytest.raises(SystemExit) as stopped:
        run("train", "--resume", folder.path, "--iterations", "50")
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert str(root) in said
    assert ".png" in said
    before = checkpoint.available(folder.checkpoints)[-1]
    assert before >= 2
    for image in sorted(root.glob("*/[3-7].png")):
        shutil.copy(image.with_name("0.png"), image)
    run("train", "--resume", folder.path, "--iterations", before + 2)
    assert learned(folder).iteration == before + 2


def test_a_folder_that_gained_a_class_is_refused(tmp_path, capsys, image_folder):
    root = tmp_path / "root"
    shutil.copytree(image_folder, root)
    kwargs = json.dumps({"root": str(root), "way": 2})
    folder = tiny("images", tmp_path / "run", "--env.kwargs", kwargs, "--validation-tasks", "0")
    shutil.copytree(root / "class-00", root / "class-99")
    for words in (("evaluate", folder.path), ("train", "--resume", folder.path)):
        with pytest.raises(SystemExit):
            run(*words)
        assert "test classes may be others" in capsys.readouterr().err
    shutil.rmtree(root / "class-99")
    run("evaluate", folder.path, "--tasks", "2", "--steps", "1")


def test_best_is_forgotten_when_it_is_measured_otherwise(tmp_path, capsys):
    folder = tiny("sinusoid", tmp_path / "run")
    assert learned(folder).state["totals"]["best_by"] == "training"
    run("train", "--resume", folder.path, "--iterations", "12", "--validation-tasks", "5")
    totals = learned(folder).state["totals"]
    assert totals["best_by"] == "validation on 5 tasks"
    lines = {line["iteration"] + 1: line for line in folder.read_metrics()}
    scores = [lines[done]["validation/mse/post"] for done in (9, 12)]
    assert totals["best_score"] == min(scores)
    assert totals["best_iteration"] == (9, 12)[scores.index(min(scores))]


def test_a_family_of_ones_own_on_the_command_line(tmp_path, capsys, monkeypatch):
    """Thirty examples a task and no more, float64, inputs without bounds; and then mistakes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_lines.py").write_text(LINES)
    run("train", "sinusoid", "--env.id", "mine_lines:Lines-v0", "--out", "run", *SMALL)
    run("evaluate", "run", "--tasks", "3", "--steps", "1")
    assert (tmp_path / "run" / "plots" / "fits.png").exists()
    capsys.readouterr()
    for name, message in (("Flat-v0", "targets"), ("Bare-v0", "lack inputs, outputs")):
        with pytest.raises(SystemExit) as stopped:
            run("train", "sinusoid", "--env.id", f"mine_lines:{name}", "--out", "bad", *SMALL)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "bad").exists()


LINES = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Lines:
    inputs = spaces.Box(-np.inf, np.inf, (1,))
    outputs = spaces.Box(-1, 1, (1,))

    def sample(self, n, rng, split="train"):
        return rng.uniform(-1, 1, (n, 1))

    def episode(self, tasks, shots, queries, rng):
        if shots + queries > 30:
            raise ValueError("thirty and no more")
        x = rng.uniform(-1, 1, (len(tasks), shots + queries, 1))
        y = tasks[:, None] * x
        return (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:])


class Flat(Lines):
    def episode(self, tasks, shots, queries, rng):
        return [(x, y[..., 0]) for x, y in super().episode(tasks, shots, queries, rng)]


class Bare:
    sample, episode = Lines.sample, Lines.episode


class Env(gymnasium.Env):
    observation_space, action_space = Lines.inputs, Lines.outputs

    def __init__(self, family):
        self.examples = family


for kind in (Lines, Flat, Bare):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=lambda kind=kind: Env(kind()))
"""


def test_no_validation_classes_is_said_before_the_run_begins(tmp_path, capsys, image_folder):
    kwargs = json.dumps({"root": str(image_folder), "fractions": [0.8, 0.0, 0.2]})
    with pytest.raises(SystemExit):
        run("train", "images", "--out", tmp_path / "run", "--env.kwargs", kwargs)
    assert "--validation-tasks 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_help_has_the_options_of_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "digits", "--help-all"])
    said = capsys.readouterr().out
    for option in ("--examples.shots", "--optimizer.schedule", "--conv.batch-norm", "--data"):
        assert option in said
