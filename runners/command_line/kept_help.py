"""Help as it was printed last: to make it anew takes seconds, since what it tells of needs torch.

It is kept in the user's cache folder, with the terminal that it was for and the state of the
package's files that it was made of. When one of them has changed it is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runners.command_line.commands import COMMANDS, HELP_WORDS

_OF_TERMINALS = ("COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "LANG")


def is_kept(arguments: Sequence[str]) -> bool:
    """Whether arguments ask for what depends on the package alone, and on nobody's own files."""
    match arguments:
        case ["list"]:
            return True
        case [command, word]:
            return command in COMMANDS and word in HELP_WORDS
        case ["train", preset, word]:
            return preset.replace("-", "").isalnum() and preset[0] != "-" and word in HELP_WORDS
    return False


def kept(arguments: Sequence[str]) -> str | None:
    """Text that these arguments printed to a terminal like this one; None if it must be made."""
    divided = "WORLD_SIZE" in os.environ  # by torchrun, which most commands refuse
    if divided or not is_kept(arguments):
        return None
    with contextlib.suppress(Exception):  # whatever is wrong with what was kept, it can be made
        stamp, _, text = _file(arguments).read_bytes().partition(b"\n")
        if stamp.decode() == _stamp(arguments):
            return text.decode()
    return None


@contextlib.contextmanager
def keeping(arguments: Sequence[str]) -> Iterator[None]:
    """Keep what is printed meanwhile, should it be help and end well."""
    stamp = None
    with contextlib.suppress(Exception):  # whatever a stream or an installation lacks: not kept
        stamp = _stamp(arguments) if is_kept(arguments) else None
    if stamp is None:
        yield
        return
    copied: Any = _Copied(sys.stdout)
    with contextlib.redirect_stdout(copied):
        try:
            yield
        except SystemExit as end:
            if not end.code:
                _keep(arguments, stamp, copied.text)
            raise
        _keep(arguments, stamp, copied.text)


class _Copied:
    """A stream, and what was written to it, in letters that it has."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.text = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding, errors = self.encoding or "utf-8", self.errors or "strict"
        self.text += text.encode(encoding, errors).decode(encoding)
        return self._stream.write(text)


def _keep(arguments: Sequence[str], stamp: str, text: str) -> None:
    """Keep a text that was made in the state of a stamp, unless that has changed meanwhile."""
    with contextlib.suppress(Exception):  # whatever the disk says: it is made the next time
        if stamp != _stamp(arguments):
            return
        path = _file(arguments)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.write_bytes(f"{stamp}\n{text}".encode())
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


def _file(arguments: Sequence[str]) -> Path:
    """The file for what these arguments print: one, so that files do not pile up."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = given if given.is_absolute() else Path.home() / ".cache"
    return folder / "rlmaml" / "help" / f"{'-'.join(arguments)}.txt"


def _stamp(arguments: Sequence[str]) -> str:
    """State of what help is made of: the terminal, Python, its reader of options, files of ours."""
    out = sys.stdout
    state: list[object] = [*arguments, out.isatty(), out.encoding, *shutil.get_terminal_size()]
    state += [f"{name}={os.environ[name]}" for name in sorted(os.environ) if _is_of_terminal(name)]
    state += [sys.version, sys.flags.optimize, importlib.metadata.version("tyro")]
    for package in ("rlmaml", "envs", "runners"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            state += _files(os.path.dirname(spec.origin))
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _is_of_terminal(name: str) -> bool:
    return name in _OF_TERMINALS or name.startswith("PYTHON_TYRO_")


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _files(entry.path)
            else:
                about = entry.stat()
                yield entry.path, about.st_mtime_ns, about.st_size
