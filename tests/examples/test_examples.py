"""Every example runs as a script, with small arguments, and prints what it says."""

import ast
import io
import json
import re
import runpy
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"

ARGUMENTS = {
    "train": ["--iterations", "1", "--tasks", "2"],
    "few_shot": ["--iterations", "100"],
    "own_environment": ["--iterations", "1"],
    "continue_with_sb3": ["--env-steps", "200"],
}


TESTED_ALONE = {
    "meta_world",  # it needs a package that is not among ours
    "maml_trpo",  # and in test_plain.py, beside the engine
}


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


def test_the_single_file_needs_three_packages():
    source = ast.parse((EXAMPLES / "maml_trpo.py").read_text())
    named = {
        alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in named} - set(sys.stdlib_module_names)
    assert packages == {"gymnasium", "numpy", "torch"}


def test_the_single_file_runs_and_takes_its_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log of what it says of gymnasium's robot
    words = "maml_trpo.py --iterations 2 --tasks 2 --episodes 6 --horizon 20 --inner-steps 2"
    words += " --curvature-share 1 --damping 0.1"
    monkeypatch.setattr(sys, "argv", words.split())
    runpy.run_path(str(EXAMPLES / "maml_trpo.py"), run_name="__main__")
    lines = [line for line in capsys.readouterr().out.splitlines() if "iteration" in line]
    assert len(lines) == 2
    for line in lines:
        assert re.search(
            r"return -?\d+\.\d before adaptation, -?\d+\.\d after; KL 0\.0[01]\d+, accepted", line
        )


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    shown = []
    fake = types.SimpleNamespace(
        Image=lambda data: Image.open(io.BytesIO(data)), display=shown.append
    )
    package = types.ModuleType("IPython")
    package.get_ipython, package.version_info = lambda: None, (9, 0)  # matplotlib looks at them
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr(plt, "show", lambda: (shown.append(plt.gcf()), plt.close()))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text())["cells"]
    namespace = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), namespace)
    paths, video, curves = shown
    assert len(paths.axes) == 3
    assert video.is_animated
    assert len(curves.axes[0].lines) == 5
    returns = [played.rewards.sum(-1).mean().item() for played in namespace["policy"].episodes]
    assert returns[-1] > returns[0] + 20
