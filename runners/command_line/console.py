"""Consoles that cannot show every letter, and warnings in a line."""

from __future__ import annotations

import codecs
import contextlib
import sys
import warnings
from collections.abc import Callable
from typing import TextIO

from rlmaml import processes
from rlmaml.errors import DamageWarning
from runners.formatting import one_line

_PLAIN = {
    "±": "+-",
    "−": "-",
    "–": "-",
    "→": "->",
    "‖": "||",
    "·": "*",
    "×": "x",
    "…": "...",
    "─": "-",
}
_SPELLING = "rlmaml-spelling"


def prepare() -> None:
    """Have nothing die of a letter that the console's encoding lacks, and warnings be short."""
    codecs.register_error(_SPELLING, _spelt)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_SPELLING)
    _said.clear()
    if warnings.showwarning is not _show:
        _others.append(warnings.showwarning)
        warnings.showwarning = _show


_others: list[Callable[..., object]] = []
_said: set[str] = set()


def _spelt(problem: UnicodeError) -> tuple[str, int]:
    """The letters that an encoding lacks, in letters that it has."""
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    letters = problem.object[problem.start : problem.end]
    plain = [_PLAIN.get(letter) or _escaped(letter) for letter in letters]
    return "".join(plain), problem.end


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings in a line; others as they always are, with the process if it is not alone.

    Damage is of files that all processes read, so the first tells of it for all.
    """
    if not issubclass(category, DamageWarning):
        who = processes.name()
        text = f"({who}) {message}" if who else message
        _others[-1](text, category, filename, lineno, file, line)
        return
    if str(message) in _said or not processes.is_first():
        return
    _said.add(str(message))
    with contextlib.suppress(OSError):  # nobody may be there to hear it
        print(f"rlmaml: {one_line(str(message))}", file=file or sys.stderr)
