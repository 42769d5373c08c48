"""Files of the states of runs, which are read without running code."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from rlmaml import json_files
from rlmaml.errors import ConfigError

_SHARED = ("totals", "data", "processes", "predictor")
"""Entries of a state that are JSON, and that evaluating and adapting need."""
_ENTRY = "state"


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


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint's state, of torch's own format or of `shared_state`.

    Raises:
        Exception: any that torch, safetensors or JSON raises of a file that is none.
    """
    if path.suffix == ".safetensors":
        tensors, about = read_tensors(path.read_bytes())
        state = json_files.parse(about[_ENTRY].encode())
        if not isinstance(state, dict):
            raise ValueError(f"its {_ENTRY} is no JSON object")
        rest = {name: state[name] for name in _SHARED if name in state}
        return rest | ({"normalizer": tensors} if tensors else {})
    check_archive(path)
    return torch.load(path, weights_only=True, map_location="cpu")


def shared_state(state: dict[str, Any]) -> bytes:
    """The content of a safetensors file of what others need of a state.

    They evaluate and adapt, and do not go on training: the state of the outer step is left out.
    Observation statistics are its tensors, and the rest is JSON among its metadata.

    Args:
        state: as a training made it.
    """
    rest = {name: state[name] for name in _SHARED if name in state}
    tensors = {name: value.contiguous() for name, value in state.get("normalizer", {}).items()}
    return safetensors.torch.save(tensors, {_ENTRY: json.dumps(rest)})


def read_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in the content of a safetensors file, in the file's order, and its metadata.

    safetensors itself opens no file whose name is not UTF-8, and of content has no order.
    """
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    order = sorted(tensors, key=lambda name: (header[name]["data_offsets"], name))
    return {name: tensors[name] for name in order}, header.get("__metadata__") or {}
