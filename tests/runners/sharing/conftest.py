"""A run to share: of observation statistics, evaluated, with plots and a video."""

import shutil
from pathlib import Path

import pytest

from runners.run_dir import RunDir

DATA = Path(__file__).parents[2] / "data" / "runs"
COMMAND = "rlmaml train navigation --out runs/theirs"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The run, in a folder that commands are run in."""
    monkeypatch.chdir(tmp_path)
    run = RunDir(Path(shutil.copytree(DATA / "normalized", tmp_path / "theirs")))
    run.write(run.read_config(), run.read_origin()._replace(command=COMMAND))
    for path in (
        *(run.plots / f"{name}.png" for name in ("adaptation", "comparison", "learning", "tasks")),
        run.path / "videos" / "task-0_1-steps-1.gif",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a picture")
    return run
