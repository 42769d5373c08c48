"""Runs to be drawn, trained once."""

import pytest

from tests.helpers.runs import tiny

SHORT = ("--horizon", 22, "--iterations", 1)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    presets = {"vel": "half-cheetah-vel", "dir": "half-cheetah-dir", "nav": "navigation"}
    return {name: tiny(root / name, *SHORT, preset=preset) for name, preset in presets.items()}
