"""Commands that make a run, and an evaluation, again."""

import dataclasses
import shlex

import pytest

from runners import cli, options, presets
from runners.config import changes
from runners.evaluation import evaluate
from runners.reporting import provenance
from runners.run_dir import RunDir


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("known", [True, False])
def test_commands_make_the_same_settings(preset, known):
    more = ["--policy.hidden", "7", "9", "--chunk-size", "None", "--env.kwargs", '{"a": "b c"}']
    more += ["--optimizer.clip-norm", "2", "--normalize-observations", "True", "--seed", "3"]
    default = options.TrainOptions(presets.PRESETS[preset][1])
    wanted = options.parse(options.TrainOptions, default, more, "train").config
    named = wanted if known else dataclasses.replace(wanted, preset="mine")
    words = shlex.split(provenance.train_command(named, "runs/x", init="runs/y"))
    assert words[:2] == ["rlmaml", "train"]
    assert words[2] == preset or not known
    base = options.TrainOptions(presets.PRESETS[words[2]][1])
    got = options.parse(options.TrainOptions, base, words[3:], "train")
    assert [change for change in changes(wanted, got.config) if "preset" not in change] == []
    assert got.config.iterations == wanted.iterations
    assert str(got.init) == "runs/y"


@pytest.mark.parametrize(
    ("preset", "name"), [("sinusoid", "reptile"), ("digits", "maml++"), ("navigation", "promp")]
)
def test_the_command_of_a_run_by_another_method(preset, name):
    """The method's usual settings come with it, and are not said again."""
    words = ["--algorithm", name, "--iterations", "40"]
    more = [*words, "--inner.step-size", "0.123"]
    default = cli._with_method(presets.PRESETS[preset][1], more, "train")
    wanted = options.parse(
        options.TrainOptions, options.TrainOptions(default), more, "train"
    ).config
    said = shlex.split(provenance.train_command(wanted, "runs/x"))
    assert said == ["rlmaml", "train", preset, *more, "--out", "runs/x"]


def test_the_command_of_an_evaluation(runs):
    folder = RunDir(runs / "sinusoid")
    settings = {"tasks": 4, "steps": 2, "queries": 7, "step_size": 0.5, "seed": 3}
    made = evaluate.evaluate(
        folder, **settings, halve_later_steps=True, checkpoint=folder.checkpoints / "000030"
    )
    command = provenance.evaluate_command(folder.read_config(), made, ["runs/sinusoid"])
    got = options.parse(options.EvaluateOptions, None, shlex.split(command)[2:], "evaluate")
    assert {name: getattr(got, name) for name in settings} == settings
    assert got.halve_later_steps
    assert str(got.checkpoint) == "runs/sinusoid/checkpoints/000030"


def test_run_folders_have_names_in_commands(tmp_path):
    assert provenance.place(tmp_path / "vel") == "runs/vel"
    assert provenance.place(tmp_path / "vel" / "seed-3") == "runs/vel/seed-3"
    assert provenance.origin(str(tmp_path / "a" / "checkpoints" / "000010")) == (
        "runs/a/checkpoints/000010"
    )
