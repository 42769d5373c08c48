"""What a folder of a user's data holds: hidden files and folders do not count."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def subfolders(folder: Path) -> list[Path]:
    """In order of their names."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Those with one of the suffixes, in whatever case, in order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )
