"""Checkpoints that are whole or absent, and known to be unaltered when read.

A checkpoint is a folder `000100/` (iterations done) holding `meta.safetensors` (the
meta-parameters), `state.pt` (whatever else the run needs, loadable with `weights_only=True`)
and `manifest.json` (SHA-256 of the other two, and the configuration). It is written beside its
place, synced, and renamed into it, so a crash leaves either all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import safetensors.torch
import torch

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.migration import best_iteration, migrate_state
from rlmaml.types import Meta

META, STATE, MANIFEST = "meta.safetensors", "state.pt", "manifest.json"
FORMAT = 1
_ADVICE = "Remove its folder to go on from the checkpoint before it."


class CheckpointError(ConfigError):
    """A checkpoint is missing, incomplete or altered."""


class Checkpoint(NamedTuple):
    """A checkpoint that was read."""

    iteration: int  # iterations done
    meta: Meta  # on the CPU
    state: dict[str, Any]
    config: dict[str, Any]
    best: int | None = None  # the iteration of the run's best checkpoint so far
    digest: str = ""  # SHA-256 of the file of the meta-parameters


def save(
    folder: Path,
    iteration: int,
    meta: Meta,
    state: dict[str, Any],
    config: dict[str, Any],
    *,
    keep: int = 2,
    best: int | None = None,
) -> Path:
    """Write `folder/{iteration:06d}` and remove the oldest beyond the last `keep`.

    Args:
        folder: the run's checkpoint folder, made if missing.
        iteration: iterations done.
        meta: the meta-parameters.
        state: tensors, numbers, strings and containers of them.
        config: what describes the run; JSON-serializable.
        keep: how many of the latest to keep.
        best: the iteration of the best checkpoint so far, which is never removed.

    Returns:
        The checkpoint's folder.
    """
    path = folder / f"{iteration:06d}"
    staging = folder / f".{iteration:06d}.{os.getpid()}"
    for left_over in folder.glob(".??????.*"):  # of a process that was killed while writing
        shutil.rmtree(left_over)
    staging.mkdir(parents=True)
    flat = {
        f"{group}/{name}": value for group, part in meta.items() for name, value in part.items()
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in flat.items()}
    _write(staging / META, safetensors.torch.save(tensors))
    with open(staging / STATE, "wb") as file:
        torch.save(state, file)
        _sync(file)
    about = {"format": FORMAT, "iteration": iteration, "best": best, "config": config}
    hashes = {name: _digest(staging / name) for name in (META, STATE)}
    manifest = {**about, "sha256": {**hashes, "about": _digest_json(about)}}
    _write(staging / MANIFEST, json.dumps(manifest, indent=1).encode())
    _sync_folder(staging)
    if path.exists():  # rename cannot replace a folder; the same iteration is the same content
        shutil.rmtree(path)
    staging.rename(path)
    _sync_folder(folder)
    for old in available(folder)[:-keep]:
        if old != best:
            shutil.rmtree(folder / f"{old:06d}")
    return path


def load(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: a file that is missing, or whose SHA-256 is not the manifest's.
    """
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint {path}.")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        hashes = manifest.pop("sha256")
        digests = {name: _digest(path / name) for name in (META, STATE)}
        digests["about"] = _digest_json(manifest)
        for name, digest in digests.items():
            if digest != hashes[name]:
                raise CheckpointError(
                    f"{path / (MANIFEST if name == 'about' else name)} does not match its "
                    f"checksum: it was cut or altered. {_ADVICE}"
                )
        tensors = safetensors.torch.load_file(path / META)
        state = torch.load(path / STATE, weights_only=True, map_location="cpu")
        iteration, config = manifest["iteration"], manifest["config"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UnpicklingError) as problem:
        if isinstance(problem, CheckpointError):
            raise
        raise _incomplete(path, problem) from problem
    meta: Meta = {}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        meta.setdefault(group, {})[rest] = value
    state = migrate_state(state)
    best = manifest.get("best", best_iteration(state))
    return Checkpoint(iteration, meta, state, config, best, hashes[META])


def fitted(loaded: Meta, built: Meta) -> Meta:
    """Loaded meta-parameters on the device of the built ones, if their shapes agree.

    In the order of the built ones, because a checkpoint file sorts them by name, and with their
    groups, because it has none that is empty.

    Raises:
        ValueError: they do not agree; with both.
    """
    shapes = [
        {
            f"{group}/{name}": tuple(value.shape)
            for group, part in meta.items()
            for name, value in part.items()
        }
        for meta in (loaded, built)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(f"have shapes {shapes[0]}, but {shapes[1]} are needed")
    device = tree.leaves(built)[0].device
    return {
        group: {name: loaded[group][name].to(device) for name in part}
        for group, part in built.items()
    }


def locate(path: Path, which: Path | None = None) -> Path:
    """The folder of a run's checkpoint.

    Args:
        path: a run folder, or a checkpoint's own folder.
        which: None is the run's newest; `best`, the best by validation or else by training return;
            or a checkpoint's own folder.

    Raises:
        CheckpointError: there is none, or none has been found best so far.
    """
    if which is not None and which != Path("best"):
        path = which
    if (path / MANIFEST).exists() or not (path / "checkpoints").is_dir():
        return path
    newest = latest(path / "checkpoints")
    if which != Path("best"):
        return newest
    best = load(newest).best
    if not best:
        raise CheckpointError(f"{path} has no best checkpoint yet: use its newest, or train on.")
    return path / "checkpoints" / f"{best:06d}"


def available(folder: Path) -> list[int]:
    """The iterations with a checkpoint, ascending."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())


def latest(folder: Path) -> Path:
    """The newest checkpoint in a run's checkpoint folder.

    Raises:
        CheckpointError: there is none.
    """
    iterations = available(folder)
    if not iterations:
        raise CheckpointError(f"{folder} holds no checkpoint.")
    return folder / f"{iterations[-1]:06d}"


def meta_digest(path: Path) -> str:
    """The SHA-256 of a checkpoint's meta-parameters, as its manifest has it; nothing is loaded.

    Raises:
        CheckpointError: a manifest that is missing, cut or without it.
    """
    try:
        return json.loads((path / MANIFEST).read_text())["sha256"][META]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise _incomplete(path, problem) from problem


def _incomplete(path: Path, problem: Exception) -> CheckpointError:
    reason = f"{type(problem).__name__}: {problem}"
    return CheckpointError(f"{path} is not a complete checkpoint ({reason}). {_ADVICE}")


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        _sync(file)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
