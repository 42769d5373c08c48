"""Cells are formatted once; tables are shown as text."""

import numpy as np
import pytest

from runners.evaluation import tables
from runners.evaluation.tables import Body, Cell, Table


def test_a_mean_with_its_half_width_or_diverged():
    assert str(tables.plus_minus(-1.25, 0.5, 1)) == "−1.2 ± 0.5"
    for value, half in ((np.nan, 1.0), (np.inf, np.nan)):
        assert str(tables.plus_minus(value, half, 1)) == "diverged"
    assert str(tables.plus_minus(1.0, np.nan, 1)) == "1.0"


def test_a_mean_between_the_ends_of_its_interval_or_diverged():
    assert tables.between(1.0, -2.0, 3.0, 2) == Cell("1.00", "[−2.00, 3.00]")
    assert tables.between(np.nan, np.nan, np.nan, 2) == Cell("diverged")


def test_shares_are_percent_and_none_is_a_dash():
    values, ends = np.array([0.5, np.nan]), np.array([[-0.1, 0.0], [0.9, 1.0]])
    cells = tables.share_row("closed", values, ends).cells
    assert cells[0] == Cell("50%", "[−10%, 90%]")
    assert cells[1].value == "–"
    assert tables.share_row("closed", values, None).cells[0] == Cell("50%")


def test_text():
    means = tables.spread_row("mean", np.array([-1.0, np.nan]), np.array([0.5, np.nan]), 1)
    alone = tables.plain_row("seed 0", [2.0], 1)
    table = Table(
        ["0", "1"],
        [Body("maml", "28 examples of training", [means, alone]), Body("", "", [alone])],
        title="return on 4 tasks",
    )
    lines = str(table).splitlines()
    assert lines[0] == "return on 4 tasks"
    assert lines[1].split() == ["inner", "steps", "0", "1"]
    assert lines[3:] == [
        "maml",
        "  mean        -1.0 ± 0.5   diverged",
        "  seed 0             2.0",
        "seed 0               2.0",
        "maml: 28 examples of training",
    ]


@pytest.mark.parametrize("columns", [3, 60])
def test_wide_tables_are_not_wrapped_and_brackets_are_no_markup(columns):
    row = tables.interval_row("[bold]x", np.ones(columns), np.ones((2, columns)), 3)
    text = str(Table([str(k) for k in range(columns)], [Body("", "", [row])]))
    (line,) = (line for line in text.splitlines() if "[bold]x" in line)
    assert line.count("1.000 [1.000, 1.000]") == columns
