"""Runs to report on, trained once."""

import shutil

import pytest

from rlmaml.errors import ConfigError
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.rendering import video as render_module
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, run

FEW = EvalConfig(tasks=5, episodes=2, steps=2)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Run folders: two seeds of navigation with their baselines, a sinusoid."""
    root = tmp_path_factory.mktemp("runs")
    navigation = root / "navigation"
    run("train", "navigation", "--out", navigation, *TINY, "--seeds", 0, 1, "--quiet")
    seeds = [RunDir(navigation / f"seed-{seed}") for seed in (0, 1)]
    compare_runs(seeds, FEW, against=("random", "oracle"), quiet=True)
    compare_runs(seeds[:1], FEW, against=("random",), quiet=True)
    sinusoid = RunDir(root / "sinusoid")
    settings = ("--iterations", 60, "--policy.hidden", 8, "--log-every", 10, "--quiet")
    run("train", "sinusoid", "--out", sinusoid.path, *settings, "--checkpoint-every", 30)
    evaluate_run(sinusoid, EvalConfig(tasks=20, steps=3), quiet=True)
    return root


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of one's own of the run folders, and nothing that draws videos of them."""

    def nothing(folder, quiet):
        raise ConfigError("nothing draws here")

    monkeypatch.setattr(render_module, "render", nothing)
    return shutil.copytree(trained, tmp_path / "runs")
