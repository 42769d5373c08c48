"""Importing is light; each in a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import envs
from tests.helpers.processes import run_python

pytestmark = pytest.mark.slow

IMPORT = "import sys, gymnasium, envs\n"


def test_importing_is_light_and_registers_once(tmp_path):
    code = """
envs.register()
assert "rlmaml/AntDir-v0" in gymnasium.registry
heavy = {"mujoco", "torch", "matplotlib", "PIL", "sklearn", "tqdm", "envs.tabular"}
heavy |= {f"envs.{name}" for name in ("core", "few_shot", "locomotion", "navigation")}
print(sorted(heavy & set(sys.modules)))
"""
    done = run_python(IMPORT + code, tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_examples_import_no_more_than_they_need(tmp_path):
    code = """
gymnasium.make("rlmaml/Sinusoid-v0").reset(seed=0)
gymnasium.make("rlmaml/LinearClassification-v0").reset(seed=0)
gymnasium.make("rlmaml/Docstrings-v0").reset(seed=0)
print(sorted({"mujoco", "torch", "PIL", "sklearn", "matplotlib"} & set(sys.modules)))
"""
    done = run_python(IMPORT + code, tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_gymnasium_imports_the_package_by_itself(tmp_path):
    code = "import gymnasium; print(gymnasium.make('envs:rlmaml/Navigation2D-v0').spec.id)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "rlmaml/Navigation2D-v0\n"


def test_the_package_imports_itself_relatively_alone():
    """It may be loaded under another name, where a user has an `envs`."""
    root = Path(envs.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in ("envs", "rlmaml", "runners", "torch"), path
