"""Folders that have their name only when they are whole, and files that are on the disk."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path


def clear(folder: Path, staging: re.Pattern[str]) -> None:
    """Remove folders that a process left which was killed while it wrote or removed one.

    Args:
        folder: that they are in.
        staging: what they are called, a dot first.
    """
    for path in folder.glob(".*"):
        if staging.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder: at once by name, so that none is left in part; of a link, the link."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path.rename(path.with_name(f".{path.name}.{os.getpid()}")))


def put(staging: Path, path: Path) -> None:
    """Rename a folder into its place, and remove one that is there.

    Rename cannot replace a folder. What was there has the same content, or was altered.
    """
    aside = staging.with_name(f"{staging.name}0")
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        path.rename(aside)
    try:
        staging.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file, and wait for the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until the disk knows what is in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
