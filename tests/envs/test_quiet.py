"""Importing is light, and nothing is printed or left behind; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys, gymnasium, envs\n" + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_importing_is_light_and_registers_once(tmp_path):
    code = """
envs.register()
assert "rlmaml/AntDir-v0" in gymnasium.registry
heavy = {"mujoco", "torch", "matplotlib", "PIL", "sklearn", "tqdm", "envs.tabular"}
heavy |= {f"envs.{name}" for name in ("core", "few_shot", "locomotion", "navigation")}
print(sorted(heavy & set(sys.modules)))
"""
    done = run(code, tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_examples_import_no_more_than_they_need(tmp_path):
    code = """
gymnasium.make("rlmaml/Sinusoid-v0").reset(seed=0)
gymnasium.make("rlmaml/LinearClassification-v0").reset(seed=0)
gymnasium.make("rlmaml/Docstrings-v0").reset(seed=0)
print(sorted({"mujoco", "torch", "PIL", "sklearn", "matplotlib"} & set(sys.modules)))
"""
    done = run(code, tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_gymnasium_imports_the_package_by_itself(tmp_path):
    code = "import gymnasium; print(gymnasium.make('envs:rlmaml/Navigation2D-v0').spec.id)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "rlmaml/Navigation2D-v0\n"


def test_no_output_and_no_files(tmp_path):
    code = """
import numpy as np
env = gymnasium.make("rlmaml/HalfCheetahVel-v0")
env.reset(seed=0)
vector = gymnasium.make_vec("rlmaml/HalfCheetahVel-v0", num_envs=3)
vector.reset(seed=0)
vector.simulation.qvel[1] = np.nan
env.unwrapped.data.qvel[:] = np.nan
assert vector.step(np.zeros((3, 6)))[4]["diverged"].tolist() == [False, True, False]
assert env.step(np.zeros(6))[4]["diverged"]
env.close()
vector.close()
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_warnings_reach_python_logging_and_a_handler_of_the_users_stays(tmp_path):
    code = """
import logging
import mujoco, numpy as np
logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s")
env = gymnasium.make("rlmaml/HalfCheetahVel-v0")
env.reset(seed=0)
env.unwrapped.data.qvel[:] = np.nan
env.step(np.zeros(6))
mine = print
mujoco.set_mju_user_warning(mine)
gymnasium.make("rlmaml/HalfCheetahDir-v0")
assert mujoco.get_mju_user_warning() is mine
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "envs.locomotion.mujoco_utils: Nan, Inf or huge value in QVEL" in done.stdout
