"""`rlmaml reproduce`: the authors' tasks, sizes and batches, and going on where it was."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.evaluation.measure import measure
from runners.presets import PRESETS, maml_paper
from runners.run_dir import RunDir
from runners.studies import reproduce
from tests.helpers.runs import run

pytestmark = pytest.mark.slow

ROW = "paper-point"


def tiny(monkeypatch, iterations=2):
    config = replace(
        PRESETS[ROW][1],
        iterations=iterations,
        tasks=2,
        episodes=2,
        horizon=5,
        policy=replace(PRESETS[ROW][1].policy, hidden=(4,)),
    )
    monkeypatch.setitem(PRESETS, ROW, ("", config))
    monkeypatch.setitem(maml_paper.ROWS, ROW, replace(maml_paper.ROWS[ROW], episodes=2))


def test_a_row(tmp_path, monkeypatch, capsys):
    tiny(monkeypatch)
    words = ("reproduce", ROW, "--seeds", 2, "--out", tmp_path, "--quiet")
    run(*words)
    shown = capsys.readouterr().out
    place = tmp_path / ROW
    result = json.loads((place / "reproduction.json").read_text())
    assert {name: len(m["runs"]) for name, m in result["methods"].items()} == {
        "maml": 2,
        "random": 1,
        "pretrained": 1,
        "oracle": 1,
    }
    maml = result["methods"]["maml"]
    assert [each["seed"] for each in maml["runs"]] == [0, 1]
    # Measured as anybody else would who asked for the same.
    means = []
    for seed in (0, 1):
        kept = json.loads((place / f"seed-{seed}" / "evaluation.json").read_text())
        protocol = EvalConfig(steps=4, episodes=2, step_size=0.5, later_step_share=0.5)
        goals = np.random.RandomState(1).uniform(-0.5, 0.5, (40, 2))
        again = measure(RunDir(place / f"seed-{seed}"), protocol, tasks=goals, quiet=True)
        assert again.mean.tolist() == kept["mean"]
        means.append(kept["mean"])
    np.testing.assert_allclose(maml["mean"], np.mean(means, 0), rtol=1e-5)
    # Student's t of one degree of freedom: 12.706 · |a - b| / 2.
    np.testing.assert_allclose(
        maml["ci95"], 12.7062 * np.abs(np.subtract(*means)) / 2, rtol=1e-4, atol=1e-6
    )
    oracle = result["methods"]["oracle"]
    assert len(oracle["mean"]) == 1
    assert oracle["over"] == "tasks"
    assert maml["runs"][1]["env_steps"] >= 2 * 2 * 2 * 2 * 5  # K + 1, iterations, N, B, T
    assert (place / "learning.png").exists()
    table = (tmp_path / "table.md").read_text()
    assert table.strip() in shown
    assert "| 1 | 4 |" in next(line for line in table.splitlines() if "oracle, authors" in line)
    assert "| **point**: paper, MAML | -40.4 | -11.7 | -3.3 | -3.2 | -3.4 |" in table
    assert f"| **{maml['mean'][1]:.1f} ± {maml['ci95'][1]:.1f}** |" in table

    # Again: everything is there.
    def files():
        return {
            path: path.stat().st_mtime_ns
            for path in place.rglob("*")
            if path.is_file() and path.parent != place
        }

    before = files()
    run(*words)
    assert files() == before
    # Less asked for: what there is stays.
    run("reproduce", ROW, "--seeds", 1, "--baseline-seeds", 0, "--out", tmp_path, "--quiet")
    assert (tmp_path / "table.md").read_text() == table
    assert files() == before


def test_it_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    tiny(monkeypatch, iterations=1)
    reproduce.reproduce(ROW, seeds=1, baseline_seeds=0, out=tmp_path / "a", quiet=True)
    tiny(monkeypatch, iterations=3)
    partly = reproduce.reproduce(
        ROW, seeds=2, baseline_seeds=1, out=tmp_path / "a", measure_only=True, quiet=True
    )
    (only,) = partly.methods["maml"].runs
    assert only.iterations == (1, 3)
    assert "| 1 of 3 |" in reproduce.table([partly])
    for out in ("a", "b"):
        reproduce.reproduce(ROW, seeds=1, baseline_seeds=0, out=tmp_path / out, quiet=True)
    one, other = (RunDir(tmp_path / out / ROW / "seed-0") for out in ("a", "b"))
    assert one.attempts() == 2
    params = [checkpoint.load(f.checkpoints / "000003").meta["params"] for f in (one, other)]
    assert all(torch.equal(params[0][name], params[1][name]) for name in params[0])


@pytest.mark.parametrize("content", ["", '{"preset": "paper-ant-vel", ', '{"methods": {}}', "[]"])
def test_rows_that_cannot_be_read_do_not_stop_others(tmp_path, monkeypatch, capsys, content):
    tiny(monkeypatch, iterations=1)
    other = tmp_path / "paper-ant-vel" / "reproduction.json"
    other.parent.mkdir()
    other.write_text(content)
    reproduce.reproduce(ROW, seeds=1, baseline_seeds=0, out=tmp_path, quiet=True)
    assert "**point**" in (tmp_path / "table.md").read_text()
    told = capsys.readouterr().err
    assert str(other) in told
    assert "A row is left out of table.md" in told
    assert other.read_text() == content


def test_what_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match="no row of the paper"):
        reproduce.reproduce("half-cheetah-dir", out=tmp_path)
    with pytest.raises(ConfigError, match="has no run"):
        reproduce.reproduce(ROW, out=tmp_path, measure_only=True)
    with pytest.raises(ConfigError, match="--seeds must be"):
        reproduce.reproduce(ROW, seeds=0, out=tmp_path)


def test_tasks_of_ones_own_are_measured(tmp_path, monkeypatch):
    tiny(monkeypatch, iterations=1)
    reproduce.reproduce(ROW, seeds=1, baseline_seeds=0, out=tmp_path, quiet=True)
    folder = RunDir(tmp_path / ROW / "seed-0")
    goals = [[0.1, 0.2], [0.3, -0.4]]
    config = EvalConfig(episodes=2, steps=1)
    result = evaluate_run(folder, config, tasks=np.array(goals), quiet=True)
    assert result.task_list == goals
    stored = json.loads(folder.evaluation.read_text())
    assert [task["task"] for task in stored["per_task"]] == goals
    assert (stored["tasks"], stored["tasks_given"]) == (2, True)
