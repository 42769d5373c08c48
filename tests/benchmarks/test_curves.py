"""Learning curves, and how soon they come to a return."""

import json

import pytest

from benchmarks import curves
from tests.helpers.runs import tiny

CURVE = {
    "env_steps": [100.0 * i for i in range(1, 11)],
    "seconds": [60.0 * i for i in range(1, 11)],
    "before": [0.0] * 10,
    "after": [0.0, 0.0, 90.0, 0.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
}


def test_a_return_is_reached_by_a_mean_of_iterations():
    # Means of five, the first of iterations 1 to 5: 18, 20, 24, 12, 20, 30.
    assert curves.reached(CURVE, 18.0) == (500.0, 300.0)
    assert curves.reached(CURVE, 19.0) == (600.0, 360.0)
    assert curves.reached(CURVE, 29.0) == (1000.0, 600.0)
    assert curves.reached(CURVE, 31.0) is None


def test_shares_are_of_the_way_from_one_return_to_another():
    shown = curves.cells(CURVE, start=-20.0, goal=60.0)
    assert shown == ["600, 6.0 min", "not reached", "not reached"]


@pytest.mark.slow
def test_a_file_has_what_runs_logged(tmp_path, monkeypatch):
    run, out = tiny(tmp_path / "run", preset="navigation"), tmp_path / "curves.json"
    monkeypatch.setattr("sys.argv", ["curves", str(run.path), "--out", str(out)])
    curves.main()
    (one,) = json.loads(out.read_text())["seeds"].values()
    logged = [line["return/post"] for line in run.read_metrics()]
    assert one["after"] == pytest.approx(logged, rel=1e-4)
