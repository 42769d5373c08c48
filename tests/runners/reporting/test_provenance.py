"""What sets a run apart, and the commands that make it, and an evaluation, again."""

import dataclasses
import json
import shlex

import pytest

from runners import presets
from runners.command_line import cli
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.results import Evaluation
from runners.reporting import provenance
from runners.run_dir import Origin, RunDir

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("preset", ["navigation", "sinusoid", "digits"])
def test_settings_that_differ_come_first(preset):
    config = dataclasses.replace(presets.PRESETS[preset][1], seed=3, tasks=7)
    rows = provenance.settings(config)
    special = [row for row in rows if row.special]
    assert rows[: len(special)] == special
    assert {row.name for row in special} == {"seed", "tasks"}
    (tasks,) = (row for row in rows if row.name == "tasks")
    assert (tasks.value, tasks.preset) == ("7", str(presets.PRESETS[preset][1].tasks))
    assert provenance.base(dataclasses.replace(config, preset="mine")) == preset


def test_the_command_of_a_run_is_what_made_it(tmp_path, monkeypatch):
    run = RunDir(tmp_path / "vel")
    origin = Origin(command=f"rlmaml train navigation --out {tmp_path}/vel --seed 3")
    monkeypatch.setattr(RunDir, "read_origin", lambda self: origin)
    assert provenance.train_command(run) == "rlmaml train navigation --out runs/vel --seed 3"
    origin = Origin(init=str(tmp_path / "a" / "checkpoints" / "000010"))
    assert provenance.train_command(run) == (
        "rlmaml train --config runs/vel/config.json --init runs/a/checkpoints/000010 "
        "--out runs/vel-again"
    )


def test_the_command_of_an_evaluation_is_what_made_it(runs):
    folder = RunDir(runs / "sinusoid")
    words = ["--tasks", "4", "--steps", "2", "--later-step-share", "0.5", "--quiet"]
    cli.main(["evaluate", str(folder.path), *words])
    made = Evaluation.load(folder.evaluation)
    command = provenance.evaluate_command(made, ["runs/sinusoid"])
    assert command == shlex.join(["rlmaml", "evaluate", "runs/sinusoid", *words])


def test_an_evaluation_made_in_python_has_a_command_that_makes_it(runs):
    folder = RunDir(runs / "sinusoid")
    config = EvalConfig(
        tasks=4,
        steps=2,
        queries=7,
        step_size=0.5,
        later_step_share=0.5,
        seed=3,
        checkpoint=folder.checkpoints / "000030",
    )
    made = measure(folder, config, quiet=True)
    assert made.command is None
    command = provenance.evaluate_command(made, ["runs/sinusoid"])
    assert command.endswith("--checkpoint runs/sinusoid/checkpoints/000030")
    words = shlex.split(command.replace("runs/sinusoid", str(folder.path)))
    cli.main([*words[1:], "--quiet"])
    again = json.loads(folder.evaluation.read_text())
    assert again["mean"] == made.mean.tolist()
    assert again["later_step_size"] == 0.25


def test_run_folders_have_names_in_commands(tmp_path):
    assert provenance.short(tmp_path / "vel") == "runs/vel"
    assert provenance.short(tmp_path / "vel" / "seed-3") == "runs/vel/seed-3"
    command = f"rlmaml evaluate {tmp_path}/vel --checkpoint {tmp_path}/vel/checkpoints/000010"
    assert provenance.portable(command) == (
        "rlmaml evaluate runs/vel --checkpoint runs/vel/checkpoints/000010"
    )
    assert provenance.portable("rlmaml train 'unfinished") == "rlmaml train 'unfinished"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (["--out=/home/me/x"], "--out=runs/x"),
        (["--checkpoint=/home/me/x/checkpoints/000010"], "--checkpoint=runs/x/checkpoints/000010"),
        (["--env.kwargs", '{"root": "/home/me/data", "way": 5}'], '{"root": "data", "way": 5}'),
        (['--env.kwargs={"roots": ["/home/me/data"]}'], '--env.kwargs={"roots": ["data"]}'),
    ],
)
def test_absolute_paths_are_not_published(written, shown):
    portable = shlex.split(provenance.portable(shlex.join(["rlmaml", "train", *written])))
    assert portable == ["rlmaml", "train", *written[:-1], shown]


@pytest.mark.parametrize(
    "command",
    [
        "rlmaml train digits --env.kwargs '{\"way\":5}' --name=a/b",
        "rlmaml train navigation --inner.step-size 0.1 --policy.hidden 8 8",
        "rlmaml train digits --env.kwargs '{\"cut: 1'",
    ],
)
def test_other_words_stay_as_they_came(command):
    assert shlex.split(provenance.portable(command)) == shlex.split(command)


def test_settings_have_no_absolute_paths():
    config = presets.PRESETS["digits"][1]
    env = dataclasses.replace(config.env, kwargs={"root": "/home/me/data", "way": 5})
    rows = provenance.settings(dataclasses.replace(config, env=env))
    assert '{"root": "data", "way": 5}' in [row.value for row in rows]
    assert not any("/home" in row.value for row in rows)
