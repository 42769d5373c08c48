"""Checkpoints that are whole by their checksums, and hold something else than ours do."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from rlmaml import checkpoint, json_files
from tests.helpers.runs import refused, run, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    words = ("--normalize-observations", "True", "--quiet")
    return tiny(tmp_path_factory.mktemp("trained") / "run", *words, preset="navigation")


def rewrite(folder, *, best=None, tensors=None, **state):
    """Have all checkpoints hold other things; None takes one away."""
    for place in folder.checkpoints.iterdir():
        held = torch.load(place / checkpoint.STATE, weights_only=True) | state
        held = {name: value for name, value in held.items() if value is not None}
        torch.save(held, place / checkpoint.STATE)
        if tensors is not None:
            stored = safetensors.torch.load_file(place / checkpoint.META)
            changed = {name: tensors(value) for name, value in stored.items()}
            safetensors.torch.save_file(changed, place / checkpoint.META)
        manifest = json.loads((place / checkpoint.MANIFEST).read_text())
        manifest |= {} if best is None else {"best": best}
        about = {name: value for name, value in manifest.items() if name != "sha256"}
        hashes = {
            name: checkpoint._digest(place / name) for name in (checkpoint.META, checkpoint.STATE)
        }
        manifest["sha256"] = {**hashes, "about": json_files.digest(about)}
        (place / checkpoint.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "totals",
    [
        None,
        {},
        {"env_steps": "many"},
        {"seconds": None},
        {"refusals": [1]},
        {"best_iteration": "../.."},
        {"best_score": [1.0]},
    ],
)
def test_totals_of_other_types_are_refused(folder, capsys, totals):
    rewrite(folder, totals=totals)
    if totals == {}:  # of a version that counted none
        run("train", "--resume", folder.path, "--iterations", 5, "--quiet")
        return
    for words in (["evaluate", folder.path, "--tasks", 2], ["train", "--resume", folder.path]):
        assert "totals" in refused(capsys, *words, "--quiet")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.int32, torch.complex64])
def test_parameters_of_another_type_are_refused(folder, capsys, kind):
    rewrite(folder, tensors=lambda value: value.to(kind))
    for words in (["evaluate", folder.path], ["train", "--resume", folder.path, "--iterations", 5]):
        assert "have types" in refused(capsys, *words, "--quiet")


@pytest.mark.parametrize("stored", [7, "outer", [1], {"count": 1}])
def test_states_that_are_none_are_refused(folder, capsys, stored):
    words = ("train", "--resume", folder.path, "--iterations", 5, "--quiet")
    if not isinstance(stored, dict):  # of which the trust region's needs nothing
        rewrite(folder, outer=stored)
        assert "state of the outer step" in refused(capsys, *words)
    rewrite(folder, outer={}, normalizer=stored)
    assert "observation statistics" in refused(capsys, *words)
    rewrite(folder, normalizer={name: torch.ones(7) for name in ("count", "mean", "variance")})
    assert "has shape (7,)" in refused(capsys, *words)


@pytest.mark.parametrize("best", ["../../..", -1, 2.5, True, [2]])
def test_a_best_checkpoint_that_is_no_iteration_is_refused(folder, capsys, best):
    rewrite(folder, best=best)
    refused(capsys, "evaluate", folder.path, "--checkpoint", "best", "--quiet")
