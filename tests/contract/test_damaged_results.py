"""Files of results that are damaged or edited: refused in one line, where they are read."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from rlmaml.errors import ConfigError
from runners.evaluation.results import Comparison, Evaluation
from runners.reporting import provenance, report_data
from runners.run_dir import RunDir
from tests.helpers.runs import refused, run, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tiny(tmp_path_factory.mktemp("trained") / "run", "--quiet", preset="navigation")
    words = ("--tasks", 2, "--steps", 1, "--against", "random", "--quiet")
    run("evaluate", folder.path, *words)
    return folder


def put(*path, value):
    """A change of what stands at a path of keys; None takes it away."""

    def change(content):
        for key in path[:-1]:
            content = content[key]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


OF_EVALUATIONS = [
    put("command", value={"a": 1}),
    put("preset", value=["navigation"]),
    put("iteration", value="4"),
    put("iteration", value=True),
    put("seed", value=0.5),
    put("versions", value="1.0"),
    put("versions", "torch", value=2),
    put("steps", value=[]),
    put("steps", value=[0, 1, 2]),
    put("steps", 1, value=1e300),
    put("metric", value="mse"),
    put("mean", value=3),
    put("mean", 0, value=[1]),
    put("ci95", value=[1.0]),
    put("per_task", value=[]),
    put("per_task", 0, value=3),
    put("per_task", 1, "return", value=[0]),
    put("per_task", 1, "return", value=None),
    put("per_task", 1, "task", value=None),
    put("groups", value={"all": 3}),
    put("groups", value={"all": {"tasks": 2, "mean": [1], "ci95": [1]}}),
    put("others", "distance", "mean", value=[]),
    put("fits", value=[{"task": 1, "grid": 0, "curves": 0, "support": 0, "query": 0}]),
]
OF_COMPARISONS = [
    put("methods", value={}),
    put("methods", "random", "scores", value=[]),
    put("methods", "random", "runs", value=[]),
    put("methods", "random", "runs", 0, value=3),
    put("methods", "random", "mean", value=[1, 2, 3]),
    put("methods", "random", "mean_ci95", value=[1, 2]),
    put("methods", "random", "seeds", value=[1, 2]),
    put("methods", "random", "checkpoint_sha256", value=["a", "b"]),
    put("tasks", value=[1]),
]
KINDS = {"evaluation.json": Evaluation, "comparison.json": Comparison}


def test_whole_ones_are_read(compared):
    for name, kind in KINDS.items():
        assert str(kind.load(compared.path / name))


@pytest.mark.parametrize(
    ("name", "change"),
    [("evaluation.json", each) for each in OF_EVALUATIONS]
    + [("comparison.json", each) for each in OF_COMPARISONS],
)
def test_another_type_or_size_is_refused(compared, tmp_path, name, change):
    content = json.loads((compared.path / name).read_text())
    change(content)
    path = tmp_path / name
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=name) as refusal:
        KINDS[name].load(path)
    assert "\n" not in str(refusal.value)


def test_a_report_says_which_file_it_is(compared, tmp_path, capsys):
    shutil.copytree(compared.path, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").write_text('{"metric": "return", "per_task": [1]}')
    said = refused(capsys, "report", tmp_path / "run", "--quiet", "--no-videos")
    assert "evaluation.json cannot be read" in said


@pytest.mark.parametrize("which", [".", "../..", "/etc", "000004/.."])
def test_a_checkpoint_of_another_name_is_none_to_look_for(compared, tmp_path, which):
    folder = RunDir(shutil.copytree(compared.path, tmp_path / "run"))
    made = dataclasses.replace(Evaluation.load(folder.evaluation), checkpoint=which)
    assert not report_data._stale(made, folder)


@pytest.mark.parametrize("command", ["rlmaml --out '/a\0b'", "rlmaml " + "[" * 5000, "rlmaml '"])
def test_a_command_of_somebody_else_is_shown_as_it_is(command):
    assert provenance.portable(command).startswith("rlmaml ")
