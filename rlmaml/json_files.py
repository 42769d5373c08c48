"""JSON that somebody else may have written: read with bounds, and without surprises."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

LARGEST = 256 * 2**20
"""Bytes of a file beyond which it is none of ours."""


def read(path: Path, largest: int = LARGEST) -> Any:
    """Read the value in a JSON file in UTF-8.

    Raises:
        OSError: a file that is missing or cannot be read.
        ValueError: a file that is too large or no file, no JSON, JSON that is nested too deep, or
            an object with the same name twice.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no file")
    if about.st_size > largest:
        raise ValueError(f"it has {about.st_size:,} bytes, more than {largest:,}")
    return parse(path.read_bytes())


def parse(content: bytes) -> Any:
    """The value of JSON text in UTF-8.

    Raises:
        ValueError: as `read` does.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, whatever the order of its names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice in one object")
    return found
