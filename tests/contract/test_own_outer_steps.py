"""Outer steps of one's own: what they give back, keep and report."""

from __future__ import annotations

import pytest

from runners.run_dir import RunDir
from tests.helpers.faulty import KEPT, METRICS, OTHER_PARAMETERS
from tests.helpers.runs import learned, refused, tiny

pytestmark = pytest.mark.slow

OWN = ("--quiet", "--outer", "tests.helpers.faulty:Step", "--outer-settings.change", 0.01)


@pytest.mark.parametrize("kept", [name for name in KEPT if name])
def test_a_state_that_could_not_be_read_again_is_refused_at_once(tmp_path, capsys, kept):
    words = ("--outer-settings.kept", kept, "--out", tmp_path / "run")
    assert "state_dict cannot be saved" in refused(capsys, "train", "navigation", *OWN, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", OTHER_PARAMETERS)
def test_other_parameters_are_not_saved_over_good_ones(tmp_path, capsys, wrong):
    words = ("--outer-settings.wrong", wrong, "--outer-settings.wrong-at", "3")
    with pytest.raises(SystemExit) as stop:
        tiny(tmp_path / "run", *map(str, OWN), *words, preset="navigation")
    assert stop.value.code == 1
    assert "Iteration 3 led to other parameters" in capsys.readouterr().err
    assert learned(RunDir(tmp_path / "run")).iteration == 3


@pytest.mark.parametrize("said", [name for name in METRICS if name])
def test_what_is_reported_loses_no_line(tmp_path, said, recwarn):
    words = (*map(str, OWN), "--outer-settings.said", said)
    folder = tiny(tmp_path / "run", *words, preset="navigation")
    lines = folder.read_metrics()
    assert [line["iteration"] for line in lines] == list(range(4))
    assert all(isinstance(line["return/pre"], float) for line in lines)
    assert not recwarn.list
