"""Two seeds of one run, trained once."""

import pytest

from runners.run_dir import RunDir
from tests.helpers.runs import TINY, run


@pytest.fixture(scope="session")
def seeds(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    words = ["train", "half-cheetah-dir", "--out", out, *TINY, "--seeds", 0, 1]
    run(*words)
    return [RunDir(out / f"seed-{seed}") for seed in (0, 1)]
