"""Tables of results: one model, shown as text by rich and as HTML by the report's template."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table as TextTable

from runners import formatting

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A number as text, with its interval if it has one."""

    value: str = ""
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True)
class Row:
    """A label and a cell per column, or fewer."""

    label: str
    cells: list[Cell]


@dataclass(frozen=True)
class Body:
    """Rows that belong together, under a heading if it is not empty."""

    heading: str
    note: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """Bodies of rows under the same columns."""

    columns: list[str]
    bodies: list[Body] = field(default_factory=list)
    corner: str = "inner steps"
    """Over the labels."""
    title: str = ""
    """A line above the table, where it stands alone."""

    def __str__(self) -> str:
        return as_text(self)


def plus_minus(value: float, half_width: float, decimals: int) -> Cell:
    """A mean with the half-width of its interval; `diverged` if it is not finite."""
    interval = ""
    if np.isfinite([value, half_width]).all():
        interval = f"± {formatting.number(half_width, decimals)}"
    return Cell(formatting.number(value, decimals), interval)


def between(value: float, low: float, high: float, decimals: int) -> Cell:
    """A mean with the ends of its interval; `diverged` if it is not finite."""
    if not np.isfinite(value):
        return Cell(formatting.number(value, decimals))
    ends = f"[{formatting.number(low, decimals)}, {formatting.number(high, decimals)}]"
    return Cell(formatting.number(value, decimals), ends)


def interval_row(label: str, values: Floats, ends: Floats, decimals: int) -> Row:
    """A row of means [K+1] with the ends of their intervals [2, K+1]."""
    columns = zip(values, *ends, strict=True)
    return Row(label, [between(value, low, high, decimals) for value, low, high in columns])


def spread_row(label: str, values: Floats, half_widths: Floats, decimals: int) -> Row:
    """A row of means [K+1] with the half-widths of their intervals [K+1]."""
    cells = zip(values, half_widths, strict=True)
    return Row(label, [plus_minus(*cell, decimals) for cell in cells])


def plain_row(label: str, values: Iterable[float], decimals: int) -> Row:
    """A row of numbers alone."""
    return Row(label, [Cell(formatting.number(value, decimals)) for value in values])


def share_row(label: str, values: Floats, ends: Floats | None) -> Row:
    """A row of shares [K+1], with the ends of their intervals [2, K+1] if there are any."""
    if ends is None:
        return Row(label, [Cell(formatting.share(value)) for value in values])
    columns = zip(values, *ends, strict=True)
    return Row(label, [_share_between(value, low, high) for value, low, high in columns])


def _share_between(value: float, low: float, high: float) -> Cell:
    return Cell(formatting.share(value), f"[{formatting.share(low)}, {formatting.share(high)}]")


def as_text(table: Table) -> str:
    """The table as lines for a terminal, however wide, with hyphens for minus signs."""
    width = len(table.columns)
    text = TextTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    text.add_column(table.corner, no_wrap=True)
    for column in table.columns:
        text.add_column(column, justify="right", no_wrap=True)
    for body in table.bodies:
        indent = "  " if body.heading else ""
        if body.heading:
            text.add_row(formatting.one_line(body.heading))
        for row in body.rows:
            cells = [*map(str, row.cells), *[""] * (width - len(row.cells))]
            text.add_row(indent + formatting.one_line(row.label), *cells)
    file = io.StringIO()
    console = Console(file=file, width=10_000, markup=False, emoji=False, highlight=False)
    console.print(text)
    lines = [line.rstrip() for line in file.getvalue().replace("−", "-").split("\n")[:-1]]
    notes = [f"{body.heading}: {body.note}" for body in table.bodies if body.heading and body.note]
    return "\n".join([*([table.title] if table.title else []), *lines, *notes])
