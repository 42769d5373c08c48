"""Modules that a file may have imported: a run of somebody else names code, and code can do all.

What is written in a program or on a command line is its user's own word. What a run's file says
about modules outside this package is not: they are imported where they are imported already, where
the user has named them (`naming`), or where the user trusts what is read (`trusting`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from rlmaml.errors import ConfigError

_FOLDER = Path(__file__).resolve().parent.parent
_OURS = ("rlmaml", "envs", "runners")
_NAMED: ContextVar[frozenset[str]] = ContextVar("named", default=frozenset())
_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)
_FILE: ContextVar[Path | None] = ContextVar("file", default=None)


class UntrustedError(ConfigError):
    """A file names a module that its reader has not."""


@contextlib.contextmanager
def naming(modules: Iterable[str]) -> Iterator[None]:
    """Take modules for named by the user: files that are read within may name them too."""
    token = _NAMED.set(_NAMED.get() | frozenset(modules))
    try:
        yield
    finally:
        _NAMED.reset(token)


@contextlib.contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Trust the files that are read within, if so; if not, nothing is different."""
    token = _TRUSTED.set(_TRUSTED.get() or trust)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Take what is asked for within as the word of a file."""
    token = _FILE.set(file)
    try:
        yield
    finally:
        _FILE.reset(token)


def check_module(module: str, what: str) -> None:
    """Check that a module may be imported, if it is a file that names it.

    Args:
        module: its dotted name.
        what: names it: `algorithm my_module:Mine`.

    Raises:
        UntrustedError: a module outside this package that nobody but the file has named.
    """
    file = _FILE.get()
    if file is None or _TRUSTED.get() or module in _NAMED.get() or module in sys.modules:
        return
    if _is_ours(module):
        return
    raise UntrustedError(
        f"{file} names the {what}: reading it would import the module {module!r}, code that may do "
        "anything. If you trust it, pass --trust (in Python trust=True, or import it yourself)."
    )


def _is_ours(module: str) -> bool:
    """True for a module of this package, wherever another of that name may lie.

    A package of ours that is imported finds its parts in its own folder alone.
    """
    root, _, rest = module.partition(".")
    if root not in _OURS or rest.rpartition(".")[2] == "__main__":
        return False
    loaded = sys.modules.get(root)
    if loaded is not None:
        origin = loaded.__file__
    else:
        spec = importlib.util.find_spec(root)
        origin = spec.origin if spec else None
    return origin is not None and Path(origin).resolve() == _FOLDER / root / "__init__.py"
