"""Runs to be drawn, trained once."""

import pytest

from runners import environments
from tests.helpers.runs import tiny

SHORT = ("--horizon", 22, "--iterations", 1)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    presets = {"vel": "half-cheetah-vel", "dir": "half-cheetah-dir", "nav": "navigation"}
    return {name: tiny(root / name, *SHORT, preset=preset) for name, preset in presets.items()}


@pytest.fixture
def made(monkeypatch):
    """Environments that are made one at a time; `closed` of each tells whether it was."""
    real, environments_made = environments.make_single, []

    def make_single(config, **drawing):
        env = real(config, **drawing)
        close, env.closed = env.close, False

        def closing():
            env.closed = True
            close()

        env.close = closing
        environments_made.append(env)
        return env

    monkeypatch.setattr(environments, "make_single", make_single)
    return environments_made
