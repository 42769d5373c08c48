"""The benchmark that changes the paper's settings one at a time."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import rlmaml.outer.trust_region
from benchmarks import paper
from rlmaml import tree
from rlmaml.objective import fisher_product, reference
from runners.presets import PRESETS
from tests.helpers.problems import random_batch

pytestmark = pytest.mark.slow

PRESET = "paper-half-cheetah-dir"


def test_finite_differences_are_the_curvature_in_the_limit():
    objective, meta, batch = random_batch(1)
    ref = reference(objective, meta, batch)
    v = torch.randn_like(tree.ravel(meta)[0])
    exact = fisher_product(objective, meta, batch, ref)(v)

    def error(span):
        found = paper.finite_differences(objective, meta, batch, ref, fraction=1.0, span=span)(v)
        return ((found - exact).norm() / exact.norm()).item()

    assert error(1e-3) < 1e-5
    assert error(1.0) > 10 * error(0.1)  # of second order


@pytest.mark.parametrize("study", paper.STUDIES.values(), ids=list(paper.STUDIES))
def test_every_change_is_one(study):
    config = PRESETS[study.preset][1].changed(study.base)
    made = [config.changed(options) for options in study.changes.values()]
    same = [its == config for its in made]
    assert same == [True] + [False] * (len(made) - 1)
    alike = sum(a == b for i, a in enumerate(made) for b in made[:i])
    # Differences of gradients are of all data, as the change before them.
    assert alike == (paper.FINITE_DIFFERENCES in study.changes)


def test_changes_are_trained_and_written(tmp_path, monkeypatch, capsys):
    small = {"tasks": 2, "episodes": 2, "horizon": 4, "iterations": 2}
    config = replace(PRESETS[PRESET][1], **small)
    monkeypatch.setitem(PRESETS, PRESET, ("", config))
    words = ["changes", "--iterations", "2", "--out", str(tmp_path), "--only", "authors'"]
    ours = rlmaml.outer.trust_region.fisher_product
    monkeypatch.setattr(sys, "argv", ["paper", *words, paper.FINITE_DIFFERENCES, "network: tanh"])
    paper.main()
    assert rlmaml.outer.trust_region.fisher_product is ours
    rows = json.loads((tmp_path / "changes.json").read_text())["rows"]
    assert list(rows) == ["authors'", paper.FINITE_DIFFERENCES, "network: tanh"]
    first, other, tanh = (rows[name]["after"] for name in rows)
    assert len({first, other, tanh}) == 3
    assert (tmp_path / "changes.png").exists()
