"""Files of the states of runs, which are read without running code."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from rlmaml.errors import ConfigError


def check_state(state: dict[str, Any]) -> None:
    """Check that a state can be had again from a file.

    Raises:
        ConfigError: a state that cannot be stored, or not read without running its code.
    """
    content = io.BytesIO()
    try:
        torch.save(state, content)
        content.seek(0)
        torch.load(content, weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as problem:  # a user's class may raise any
        kind = re.search(r"GLOBAL (\S+)", str(problem))
        what = f"{kind[1].strip('`')} is none" if kind else str(problem).split("\n")[0][:200]
        raise ConfigError(
            "A checkpoint keeps tensors, numbers, text, and lists and dictionaries of them as the "
            f"state of a run: {what}."
        ) from problem


def check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: torch compresses nothing.

    Raises:
        ValueError, OSError: such a one, or no archive.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > path.stat().st_size:
        raise ValueError(f"{path} unpacks to {unpacked:,} bytes, which no checkpoint does")
