"""MuJoCo prints nothing and leaves nothing behind, each in a process of its own; CPUs."""

from __future__ import annotations

import os

import pytest

from envs.locomotion import mujoco_utils
from tests.helpers.processes import run_python

IMPORT = "import sys, gymnasium, envs\n"


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
    done = run_python(IMPORT + code, tmp_path)
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
    done = run_python(IMPORT + code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "envs.locomotion.mujoco_utils: Nan, Inf or huge value in QVEL" in done.stdout


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 2), ("800000 100000", 4), ("1000 100000", 1), ("max 100000", 4), (None, 4)],
)
def test_a_container_has_the_cpus_that_it_is_given_the_time_of(
    tmp_path, monkeypatch, quota, expected
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    monkeypatch.setattr(mujoco_utils, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        mujoco_utils.QUOTA.write_text(quota + "\n")
    assert mujoco_utils.available_cpus() == expected
