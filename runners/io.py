"""Files that are the old ones or the new ones, never half."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from rlmaml import json_files
from rlmaml.errors import ConfigError

_LARGEST = 2**32
"""Bytes of results at most."""


def versions() -> dict[str, str]:
    """Versions that decide the figures: packages, Python, machine."""
    return dict(_versions())


@functools.cache  # what is installed is looked for in every folder of the path
def _versions() -> dict[str, str]:
    names = ("rlmaml", "torch", "gymnasium", "mujoco", "numpy", "stable-baselines3")
    installed = {
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }
    for name in names:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    with contextlib.suppress(PackageNotFoundError):  # an extra, which decides figures too
        installed["mujoco-warp"] = version("mujoco-warp")
    return installed


_COMMAND: ContextVar[str | None] = ContextVar("command", default=None)


@contextlib.contextmanager
def running(arguments: Sequence[str]) -> Iterator[None]:
    """Note the command line under which all within runs, for `command`."""
    token = _COMMAND.set(shlex.join(["rlmaml", *arguments]))
    try:
        yield
    finally:
        _COMMAND.reset(token)


def command() -> str | None:
    """The command line that this runs under, or None in Python."""
    return _COMMAND.get()


def null_for_nan(value: object) -> object:
    """The same JSON value with null for numbers that are not finite, since JSON has none."""
    if isinstance(value, dict):
        return {name: null_for_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def nan_for_null(value: object) -> object:
    """The inverse within lists, which are numbers after each inner step, or of each task.

    Null as a field of its own stays None: there is no value.
    """
    if isinstance(value, dict):
        return {name: nan_for_null(part) for name, part in value.items()}
    if isinstance(value, list):
        return [math.nan if part is None else nan_for_null(part) for part in value]
    return value


def write_json(path: Path, value: object, *, compact: bool = False) -> None:
    """Write a JSON file so that it is the old one or the new one, never half.

    Numbers that are not finite become null.

    Args:
        path: the file.
        value: what it holds.
        compact: write it in one line.

    Raises:
        ConfigError: the file cannot be written.
    """
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    with _replaced(path) as file:
        file.write(json.dumps(null_for_nan(value), **layout) + "\n")


def read_json(path: Path) -> dict[str, object]:
    """Read the object in a JSON file of `write_json`; null in a list is NaN.

    Raises:
        FileNotFoundError: a missing file.
        ConfigError: a file that cannot be read, or holds something else than an object.
    """
    try:
        content = nan_for_null(json_files.read(path, largest=_LARGEST))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    if not isinstance(content, dict):
        raise ConfigError(f"{path} cannot be read: it holds no JSON object.")
    return content


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in the same way."""
    with _replaced(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file in the same way."""
    with _replaced(path) as file:
        file.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in the same way."""
    with _replacing(path) as staging:
        staging.write_bytes(content)


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A text file in UTF-8; halves of characters, as in names that are none, are spelt out."""
    with (
        _replacing(path) as staging,
        open(staging, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield staging
            staging.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                staging.unlink()
            raise
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
