"""Runs by algorithms with a state of their own are resumed to the bit."""

import pytest
import torch

from rlmaml import tree
from runners.run_dir import RunDir
from tests.helpers.runs import assert_same_run, learned, run, tiny

pytestmark = pytest.mark.slow

E_MAML = ("--algorithm", "e-maml")


PROMP = ("--algorithm", "promp")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run by MAML with the preset's settings."""
    return tiny(tmp_path_factory.mktemp("plain") / "run", preset="navigation")


@pytest.mark.parametrize(
    "options",
    [
        ("--inner.hessian", "separate", "--inner.steps", "2"),
        E_MAML,
        (*E_MAML, "--algorithm-settings.task-copies", "2"),
        (*PROMP, "--optimizer.clip-norm", "1", "--algorithm-settings.kl-coefficient", "1"),
    ],
    ids=["hessian", "e-maml", "copies", "promp"],
)
def test_resuming_equals_never_having_stopped(tmp_path, plain, options):
    whole = tiny(tmp_path / "whole", *options, preset="navigation")
    tiny(tmp_path / "parts", *options, "--iterations", 2, preset="navigation")
    run("train", "--resume", tmp_path / "parts", "--iterations", 4)
    assert_same_run(whole, RunDir(tmp_path / "parts"))
    assert not torch.equal(*(tree.ravel(learned(folder).meta)[0] for folder in (whole, plain)))
    run("evaluate", whole.path, "--tasks", 3, "--episodes", 2, "--steps", 1)
