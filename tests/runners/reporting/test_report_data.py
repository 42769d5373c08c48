"""What a report is made of: means over runs, and whether results are of the same."""

import dataclasses
import json

import numpy as np
import pytest

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.evaluation.results import Comparison, Evaluation
from runners.reporting.report_data import gather
from runners.run_dir import RunDir
from tests.helpers.reports import rewrite

pytestmark = pytest.mark.slow


@pytest.fixture
def seeds(runs):
    return [RunDir(runs / "navigation" / f"seed-{seed}") for seed in (0, 1)]


def test_the_mean_over_runs_is_the_comparisons(seeds):
    data = gather(seeds, seeds[0].path.parent, quiet=True)
    comparison = Comparison.load(seeds[0].path.parent / "comparison.json")
    method = comparison.methods["meta-trained"]
    assert data.warnings == []
    assert data.result.mean.tolist() == method.mean.tolist()
    assert data.result.scores["return"].tolist() == method.scores.mean(0).tolist()
    assert data.headline.low.tolist() == method.mean_ci95[0].tolist()
    assert data.headline.gap_closed is not None
    single = [Evaluation.load(folder.evaluation).others["distance"].mean for folder in seeds]
    np.testing.assert_allclose(data.result.others["distance"].mean, np.mean(single, 0))


def test_metrics_are_means_over_runs_of_common_iterations(seeds):
    lines = seeds[1].read_metrics()[:-1]
    path = seeds[1].path / "metrics.jsonl"
    lines[0]["return/post"] = None  # it was not finite
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = gather(seeds, seeds[0].path.parent, quiet=True)
    mean = data.mean_metrics()
    assert [line["iteration"] for line in mean] == [0, 1, 2]
    assert np.isnan(mean[0]["return/post"])
    first = [run[1]["return/post"] for run in data.metrics]
    assert mean[1]["return/post"] == pytest.approx(np.mean(first))
    assert "outcome" not in mean[1]


@pytest.mark.parametrize(
    "change",
    [
        {"iteration": 2},
        {"checkpoint_sha256": "0" * 64},
        {"seed": 7},
        {"step_size": 0.5},
        {"steps": [0, 1]},
        {"episodes": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_comparison_of_another_measurement_is_left_out(seeds, change):
    folder = seeds[0]
    assert gather([folder], folder.path, quiet=True).comparison is not None
    # Of a checkpoint by choice, so that it is not made anew.
    rewrite(folder.evaluation, lambda result: result.update({"checkpoint": "000099", **change}))
    data = gather([folder], folder.path, quiet=True)
    assert data.comparison is None
    assert "left out" in data.warnings[0]


def test_decimals_are_those_of_all_scores(seeds):
    data = gather(seeds[:1], seeds[0].path, quiet=True)
    assert data.decimals == 3
    large = dataclasses.replace(data, evaluations=[_scaled(data.evaluations[0])], comparison=None)
    assert large.decimals == 1
    assert large.interval(0).startswith("± ")


def _scaled(result):
    return dataclasses.replace(result, mean=100 * result.mean)


def test_an_evaluation_of_another_hash_is_made_anew(seeds):
    folder = seeds[0]
    evaluate_run(folder, EvalConfig(tasks=2, episodes=2, steps=1), quiet=True)
    assert len(gather([folder], folder.path, quiet=True).result.tasks) == 2
    rewrite(folder.evaluation, lambda result: result.update(checkpoint_sha256="0" * 64))
    assert len(gather([folder], folder.path, quiet=True).result.tasks) == 40


def test_a_cut_manifest_is_told_of_with_what_to_do(seeds):
    folder = seeds[0]
    for place in folder.checkpoints.iterdir():
        manifest = place / checkpoint.MANIFEST
        manifest.write_bytes(manifest.read_bytes()[:40])
    with pytest.raises(ConfigError, match=r"No checkpoint in .* not a complete checkpoint"):
        gather([folder], folder.path, quiet=True)
