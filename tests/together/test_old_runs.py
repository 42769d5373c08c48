"""Run folders of an earlier version are read, evaluated, adapted and resumed as they were by it.

`tests/data/runs` was written at commit 15a32ee: a run of each kind with its evaluation, and in
`resumed.safetensors` the parameters that one more iteration came to there. Those of episodes and
normalized were written anew at cd589ce, from where on curvature is of states of all episodes.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import rlmaml
from runners.run_dir import RunDir
from tests.helpers.runs import learned, run

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data" / "runs"
KINDS = sorted(path.name for path in DATA.iterdir())


@pytest.fixture(params=KINDS)
def old(request, tmp_path):
    """A copy of the run, and where it was copied from."""
    return RunDir(shutil.copytree(DATA / request.param, tmp_path / "run")), DATA / request.param


def test_there_is_a_run_of_each_kind():
    assert set(KINDS) == {"classes", "episodes", "examples", "normalized", "step-sizes"}


def test_evaluation_finds_what_it_found(old):
    folder, original = old
    before = json.loads((original / "evaluation.json").read_text())
    episodes = ("--episodes", 4) if folder.read_config().data == "episodes" else ()
    run("evaluate", folder.path, "--tasks", 3, "--steps", 2, *episodes, "--quiet")
    after = json.loads(folder.evaluation.read_text())
    scores = [
        np.array([task[before["metric"]] for task in each["per_task"]]) for each in (before, after)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4, atol=1e-6)
    assert after["mean"] != after["mean"][::-1]


def test_training_goes_on_as_it_would_have(old):
    folder, original = old
    run("train", "--resume", folder.path, "--iterations", 3, "--quiet")
    expected = safetensors.torch.load_file(original / "resumed.safetensors")
    meta = learned(folder).meta
    found = {f"{group}/{name}": leaf for group, part in meta.items() for name, leaf in part.items()}
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        torch.testing.assert_close(found[name], leaf, rtol=1e-4, atol=1e-5)


def test_what_was_learned_adapts(old):
    folder, _ = old
    learner = rlmaml.load(folder.path)
    assert learner.iteration == 2
    if learner.supervised:
        x = np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 2)
        classes = learner.config.preset == "linear-classification"
        inputs, targets = (x, np.arange(5) % 2) if classes else (x[:, :1], x[:, 1:])
        predictor = learner.adapt(inputs, targets)
        assert predictor(inputs).shape == targets.shape
