"""Progress of what takes more than a few seconds."""

from __future__ import annotations

from typing import NoReturn

from tqdm import tqdm

from rlmaml import processes
from runners.formatting import printable


def progress(
    total: int, what: str, unit: str, *, quiet: bool = False, done: int = 0
) -> tqdm[NoReturn]:
    """Progress bar with the time left on a terminal; nothing in a log file, or if `quiet`.

    Args:
        total: of units.
        what: is being done.
        unit: singular.
        done: units done before.
    """
    return tqdm(
        total=total,
        initial=done,
        desc=printable(what),
        unit=unit,
        dynamic_ncols=True,
        disable=True if quiet or not processes.is_first() else None,
    )
