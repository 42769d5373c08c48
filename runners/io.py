"""Files that are the old ones or the new ones, never half."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from rlmaml.errors import ConfigError


def versions() -> dict[str, str]:
    """What decides the figures: packages, Python, machine."""
    found = {
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }
    for name in ("rlmaml", "torch", "gymnasium", "mujoco", "numpy", "stable-baselines3"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _finite(value: Any) -> Any:
    """The same with null for numbers that are not finite, since JSON has none."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is the old one or the new one, never half.

    Numbers that are not finite become null.
    """
    with _replaced(path) as file:
        file.write(json.dumps(_finite(value), indent=1) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file in the same way."""
    with _replaced(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file in the same way."""
    with _replaced(path) as file:
        file.write(text)


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(staging, "w", newline="", encoding="utf-8") as file:
            yield file
        staging.replace(path)
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem


_command: str | None = None


def command() -> str | None:
    """The command that is running, as it was given; None where nothing was."""
    return _command


@contextlib.contextmanager
def made_by(command: str) -> Iterator[None]:
    """What is written inside was made by this command."""
    global _command
    before, _command = _command, command
    try:
        yield
    finally:
        _command = before
