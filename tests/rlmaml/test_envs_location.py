"""Ids that work in any folder: `rlmaml:rlmaml/...`, whatever `envs` means there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rlmaml
from rlmaml.envs_location import PRIVATE_NAME, find_envs

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with packages `envs` and `runners` of the user's own."""
    for name in ("envs", "runners"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    return tmp_path


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


MADE = """
import copy, pickle, sys
import gymnasium, numpy as np

env = gymnasium.make("rlmaml:rlmaml/HalfCheetahVel-v0", goal_range=(0.0, 3.0), frame_skip=1)
env.unwrapped.set_task(np.array([2.5]))
env.reset(seed=0)
env.step(env.action_space.sample())
pickle.loads(pickle.dumps(env)).reset(seed=0)
batch = gymnasium.make_vec("rlmaml:rlmaml/AntDir-v0", num_envs=3, num_threads=1)
batch.reset(seed=0)
batch.step(np.zeros((3, 8)))
copy.deepcopy(batch).reset(seed=0)
examples = gymnasium.make("rlmaml:rlmaml/Sinusoid-v0").unwrapped.examples
print(type(env.unwrapped).__module__, type(batch).__module__, type(examples).__module__)
import envs, runners
print(getattr(envs, "mine", False), getattr(runners, "mine", False))
"""


def test_ids_work_beside_packages_of_the_same_names(project):
    used, theirs = run(MADE, project).splitlines()
    assert used.split() == [
        f"{PRIVATE_NAME}.locomotion.env",
        f"{PRIVATE_NAME}.locomotion.vector_env",
        f"{PRIVATE_NAME}.few_shot.sinusoid",
    ]
    assert theirs == "True True"


def test_ours_is_not_imported_twice(tmp_path):
    """Where nobody else has an `envs`, it is ours, under its own name."""
    used, theirs = run(MADE, tmp_path).splitlines()
    assert used.split()[0] == "envs.locomotion.env"
    assert theirs == "False False"
    assert find_envs() is sys.modules["envs"]
    assert Path(find_envs().__file__).parent == Path(rlmaml.__file__).parent.parent / "envs"


def test_another_envs_that_was_imported_before_stays(project):
    code = "import envs\nassert envs.mine\n" + MADE
    assert run(code, project).splitlines()[0].startswith(PRIVATE_NAME)


def test_a_folder_without_code_is_no_hindrance(tmp_path):
    """Whether it hides ours from `import envs` depends on how rlmaml is installed."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "cheetah.yaml").write_text("")
    module = run(MADE, tmp_path).split()[0]
    assert module in ("envs.locomotion.env", f"{PRIVATE_NAME}.locomotion.env")


def test_importing_rlmaml_registers_every_id_and_imports_no_environments(tmp_path):
    code = """
import sys, gymnasium, rlmaml
ids = {name for name in gymnasium.registry if name.startswith("rlmaml/")}
print(sorted({"envs", "mujoco", "PIL", "_rlmaml_envs"} & set(sys.modules)))
import envs
assert ids == {row.id for row in envs.registry.ENVIRONMENTS}
for row in envs.registry.ENVIRONMENTS:
    spec = gymnasium.spec(row.id)
    assert spec.max_episode_steps == row.max_episode_steps
    assert (spec.vector_entry_point is None) == (row.batched is None)
"""
    assert run(code, tmp_path) == "[]\n"
