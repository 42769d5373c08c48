"""Times on more cores than there are here, from parts."""

import json
from pathlib import Path

import pytest

from benchmarks.clusters import derived, forecast, table

ROOT = Path(__file__).parents[2]
PARTS = {
    "one_process": {
        str(n): {"rollouts": 1.0 + 2.0 * n, "update": 0.5 * n, "products": 10}
        for n in (1, 2, 5, 10, 20)
    },
    "sums": {str(p): {"number": 0.001 * p, "vector": 0.001 * p + 0.003} for p in (2, 4, 8)},
}


def test_work_is_divided_and_sums_are_added():
    seconds = forecast(PARTS)
    assert seconds(12, 1) == pytest.approx(1 + 2.5 * 12)
    # Three tasks at most; a gradient and ten products of many numbers, eight of one.
    assert seconds(12, 5) == pytest.approx(1 + 2.5 * 3 + 11 * (0.005 + 0.006 * 4 / 5) + 8 * 0.005)


def rounded(numbers):
    """Numbers of nine digits: the last ones of a fit differ between machines."""
    return json.loads(json.dumps(numbers), parse_float=lambda text: f"{float(text):.9g}")


def test_the_page_has_what_the_file_has():
    path = ROOT / "docs/results/performance/clusters-half-cheetah-vel.json"
    measured = json.loads(path.read_text())
    found = derived(measured)
    assert rounded(found).items() <= rounded(measured).items()
    page = (ROOT / "docs/scaling.md").read_text()
    for line in table(found["forecast"]).splitlines():
        assert line in page
