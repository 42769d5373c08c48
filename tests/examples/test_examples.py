"""Every example runs as a script, with small arguments, and prints what it says."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"

ARGUMENTS = {
    "train": ["--iterations", "1", "--tasks", "2"],
    "few_shot": ["--iterations", "100"],
    "own_environment": ["--iterations", "1"],
    "continue_with_sb3": ["--env-steps", "200"],
}


TESTED_ALONE = {"meta_world"}  # it needs a package that is not among ours


def test_no_example_is_left_out():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(ARGUMENTS) | TESTED_ALONE


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    command = [f"{name}.py", *ARGUMENTS[name], "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    after = "PPO" if name == "continue_with_sb3" else "inner steps"
    assert re.search(rf"(return|mean squared error) after .*{after}: -?\d", printed)
