"""Rates of simulators side by side."""

import json
from pathlib import Path

from benchmarks import simulators

ROOT = Path(__file__).parents[2]


def test_the_page_on_gpus_has_the_file_s_table():
    path = ROOT / "docs/results/performance/simulators-cpu.json"
    rows = json.loads(path.read_text())["rows"]
    page = (ROOT / "docs/gpu.md").read_text()
    for line in simulators.table(rows).splitlines():
        assert line in page


def test_a_rate_is_that_of_the_simulator_that_is_asked_for(monkeypatch):
    made = []

    class Counted(simulators.MuJoCoBatch):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setitem(simulators.SIMULATORS, "warp", Counted)
    assert simulators.rate("Hopper", 3, "mujoco", 1, 0.01) > 0
    assert not made
    assert simulators.rate("Hopper", 3, "warp", 1, 0.01) > 0
    assert len(made) == 1
