import shutil

import pytest

from runners.run_dir import RunDir
from tests.helpers.runs import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a file's own, to be looked at."""
    return tiny(tmp_path_factory.mktemp("trained") / "run", "--quiet", preset="navigation")


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it, to be spoilt."""
    shutil.copytree(trained.path, tmp_path / "run")
    return RunDir(tmp_path / "run")
