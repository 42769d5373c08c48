"""Results are read as they were written, by this version and by earlier ones."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rlmaml.errors import ConfigError
from runners.evaluation.algorithm_rows import AlgorithmComparison
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.records import to_record
from runners.evaluation.results import Comparison, Evaluation
from runners.evaluation.summaries import Summary
from runners.studies.reproduce import Reproduction
from tests.helpers.runs import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs" / "results"
OLD_RUNS = sorted((ROOT / "tests" / "data" / "runs").glob("*/evaluation.json"))
SMALL = EvalConfig(tasks=3, episodes=2, steps=1)


def record(result):
    """As JSON text, in which NaN equals NaN."""
    return json.dumps(to_record(result))


def test_an_evaluation_is_read_as_it_was_written(seeds, tmp_path):
    made = measure(seeds[0], SMALL, quiet=True)
    made.scores["return"][0, 1] = np.nan
    made.save(tmp_path / "evaluation.json")
    read = Evaluation.load(tmp_path / "evaluation.json")
    assert record(read) == record(made)
    assert np.isnan(read.scores["return"][0, 1])
    assert read.groups.keys() == made.groups.keys() != set()
    assert read.draws == made.draws


def test_curves_are_read_as_they_were_written(tmp_path):
    folder = tiny(tmp_path / "run", preset="sinusoid")
    made = measure(folder, EvalConfig(tasks=2, steps=1), quiet=True)
    made.save(folder.evaluation)
    assert record(Evaluation.load(folder.evaluation)) == record(made)


def test_a_comparison_is_read_as_it_was_written(seeds, tmp_path):
    made = compare_runs(seeds, SMALL, against=("oracle",), out=tmp_path, quiet=True)
    read = Comparison.load(tmp_path / "comparison.json")
    assert record(read) == record(made)
    assert read.methods["oracle"].gap_closed is None
    digests = read.methods["meta-trained"].checkpoint_sha256
    assert len(set(digests)) == 2
    assert all(len(digest) == 64 for digest in digests)


@pytest.mark.parametrize("path", OLD_RUNS, ids=lambda path: path.parent.name)
def test_evaluations_of_an_earlier_version(path, tmp_path):
    stored = json.loads(path.read_text())
    read = Evaluation.load(path)
    assert read.mean.tolist() == stored["mean"]
    assert len(read.tasks) == stored["tasks"] == len(stored["per_task"])
    assert list(read.scores) == [name for name in stored["per_task"][0] if name != "task"]
    assert read.scores[stored["metric"]][1].tolist() == stored["per_task"][1][stored["metric"]]
    assert (read.checkpoint_sha256, read.command) == (None, None)
    assert read.measured(stored["iteration"], "anything")
    read.save(tmp_path / "evaluation.json")
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert {name: again[name] for name in stored} == stored


def test_published_results_are_read():
    evaluations = [Evaluation.load(path) for path in PUBLISHED.rglob("evaluation*.json")]
    comparisons = [Comparison.load(path) for path in PUBLISHED.rglob("comparison*.json")]
    compared = [
        AlgorithmComparison.load(PUBLISHED / "methods" / f"{name}.json")
        for name in ("digits", "half-cheetah-dir", "sinusoid")
    ]
    rows = [Reproduction.load(path) for path in (PUBLISHED / "paper").glob("paper*.json")]
    assert (len(evaluations), len(comparisons), len(rows)) == (3, 4, 6)
    tables = [
        Comparison.load(path)
        for folder in ("families", "control")
        for path in (PUBLISHED / folder).glob("*.json")
        if not path.stem.endswith("-curves")
    ]
    assert len(tables) > 20
    for result in (*evaluations, *comparisons, *tables, *compared, *rows):
        assert "±" in str(result) or "[" in str(result)
        assert "nan" not in str(result)
    assert "diverged" in str(compared[2])


def test_tables_have_the_numbers(seeds):
    result = measure(seeds[0], SMALL, quiet=True)
    lines = str(result.table()).splitlines()
    assert lines[0] == "return on 3 tasks of 2 kinds"
    (line,) = (line for line in lines if line.startswith("all tasks"))
    assert line.count("±") == 2
    diverged = dataclasses.replace(result, mean=np.array([1.0, np.nan]), ci95=np.full(2, np.nan))
    assert "diverged" in str(diverged.table())


def test_a_summary_has_no_mean_where_a_task_diverged():
    scores = np.array([[1.0, np.inf, 3.0], [2.0, 1.0, 5.0]], np.float32)
    summary = Summary.of(scores)
    np.testing.assert_array_equal(summary.mean, [1.5, np.nan, 4.0])
    spread = 1.96 * np.std([3, 5], ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(summary.ci95[2], spread)
    assert Summary.of(scores[:1]).ci95[0] == 0  # of one task


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"mean"', "cannot be read"),
        ("[]", "holds no JSON object"),
        ("{}", "has no metric"),
        ('{"metric": "mse"}', "has no preset"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Evaluation.load(tmp_path / "evaluation.json")
