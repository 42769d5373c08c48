"""Checkpoints that are whole or absent, and known to be unaltered when read.

A checkpoint is a folder `000100/` (iterations done) holding `meta.safetensors` (the
meta-parameters), `state.pt` (whatever else the run needs, loadable with `weights_only=True`)
and `manifest.json` (SHA-256 of the other two, and the configuration). It is written beside its
place, synced, and renamed into it, so a crash leaves either all of it or nothing. Whatever else
stands among the checkpoints is somebody's, and stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from rlmaml import json_files, packing, places, sources, tree, whole_folders
from rlmaml.errors import ConfigError, DamageWarning
from rlmaml.migration import best_iteration, migrate_state
from rlmaml.types import Meta

META, STATE, MANIFEST = "meta.safetensors", "state.pt", "manifest.json"
SHARED_STATE = "state.safetensors"
"""The file that a checkpoint for others has in place of `STATE` (`rlmaml.sharing`)."""
FORMAT = 1
_CHECKPOINT = re.compile("[0-9]{6}|[1-9][0-9]{6,}")
_STAGING = re.compile(rf"\.({_CHECKPOINT.pattern})\.[0-9]+")
_ADVICE = "Name another checkpoint, or the run alone: then its newest whole one is taken."


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

    Raises:
        FloatingPointError: meta-parameters that are not finite; nothing is written.
        CheckpointError: something else has the checkpoint's name.
        OSError: it cannot be written; the checkpoints before are whole.
    """
    flat = {
        f"{group}/{name}": value for group, part in meta.items() for name, value in part.items()
    }
    for name, value in flat.items():
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"A checkpoint holds finite parameters only; {name} is not.")
    path = folder / f"{iteration:06d}"
    if path.is_file() or (path.is_symlink() and not path.exists()):
        raise CheckpointError(f"{path} is no checkpoint of ours, but has its name: move it away.")
    staging = folder / f".{iteration:06d}.{os.getpid()}"
    whole_folders.clear(folder, _STAGING)
    staging.mkdir(parents=True)
    try:
        _fill(staging, iteration, flat, state, config, best)
        whole_folders.put(staging, path)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)  # the disk may be full
        raise
    whole_folders.sync(folder)
    prune(folder, iteration, keep=keep, best=best)
    return path


def prune(folder: Path, iteration: int, *, keep: int = 2, best: int | None = None) -> None:
    """Remove what a killed process left, and the oldest checkpoints beyond the last `keep`.

    Checkpoints after `iteration`, which a run that goes on from there has not come to yet, stay
    and do not count. What cannot be removed now is left to the next time.

    Args:
        folder: the run's checkpoint folder.
        iteration: that of the checkpoint that the run is at.
        keep: as of `save`.
        best: as of `save`.
    """
    whole_folders.clear(folder, _STAGING)
    for old in [each for each in available(folder) if each <= iteration][:-keep]:
        if old != best:
            with contextlib.suppress(OSError):
                whole_folders.remove(folder / f"{old:06d}")


def _fill(
    staging: Path,
    iteration: int,
    flat: dict[str, Tensor],
    state: dict[str, Any],
    config: dict[str, Any],
    best: int | None,
) -> None:
    """Write a checkpoint's files into a folder, and wait for the disk."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in flat.items()}
    whole_folders.write(staging / META, safetensors.torch.save(tensors))
    content = io.BytesIO()  # torch's own writer ends the process where a disk is full
    torch.save(state, content)
    whole_folders.write(staging / STATE, content.getvalue())
    write_manifest(staging, (META, STATE), iteration, config, best)


def write_manifest(
    folder: Path,
    names: tuple[str, str],
    iteration: int,
    config: dict[str, Any],
    best: int | None,
) -> None:
    """Write the manifest of a checkpoint whose other two files are there, and wait for the disk."""
    about = {"format": FORMAT, "iteration": iteration, "best": best, "config": config}
    hashes = {name: _digest(folder / name) for name in names}
    manifest = {**about, "sha256": {**hashes, "about": json_files.digest(about)}}
    whole_folders.write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    whole_folders.sync(folder)


def load(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: no checkpoint, a file that is missing, or whose SHA-256 is not the
            manifest's.
    """
    manifest, hashes = _verified(path)
    try:
        tensors, _ = packing.read_tensors((path / META).read_bytes())
        state = migrate_state(packing.read_state(path / _state_name(hashes)))
        iteration, config = int(_iteration(manifest["iteration"])), dict(manifest["config"])
        best = _iteration(manifest.get("best", best_iteration(state)))
    except _UNREADABLE as problem:
        raise _incomplete(path, problem) from problem
    meta: Meta = {}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        meta.setdefault(group, {})[rest] = value
    return Checkpoint(iteration, meta, state, config, best, hashes[META])


_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    UnpicklingError,
    zipfile.BadZipFile,
    safetensors.SafetensorError,
)


def _verified(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the manifest of a checkpoint that is whole, and its hashes.

    Raises:
        CheckpointError: no checkpoint, or one that is not whole.
    """
    if not any((path / name).exists() for name in (META, STATE, MANIFEST)):
        raise CheckpointError(places.describe(path))
    try:
        manifest, hashes = _read_manifest(path)
        for name in (META, _state_name(hashes)):
            if _digest(path / name) != hashes[name]:
                raise _altered(path / name)
    except _UNREADABLE as problem:
        if isinstance(problem, CheckpointError):
            raise
        raise _incomplete(path, problem) from problem
    return manifest, hashes


def _read_manifest(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a checkpoint's manifest, and the hashes in it. It raises any of `_UNREADABLE`."""
    manifest = json_files.read(path / MANIFEST)
    hashes = manifest.pop("sha256")
    if strange := sorted(set(hashes) - {META, STATE, SHARED_STATE, "about"}):
        raise ValueError(f"it names {strange[0]!r}, and no checkpoint has that")
    if json_files.digest(manifest) != hashes["about"]:
        raise _altered(path / MANIFEST)
    return manifest, hashes


def _state_name(hashes: dict[str, str]) -> str:
    """The file of the state, as a manifest's hashes have it."""
    return SHARED_STATE if SHARED_STATE in hashes else STATE


def stored_config(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find the configuration in the newest manifest of a run's checkpoint folder that is whole.

    Returns:
        The manifest's path and the configuration; None if there is none.
    """
    for iteration in reversed(available(folder)):
        path = folder / f"{iteration:06d}"
        with contextlib.suppress(*_UNREADABLE):
            config = _read_manifest(path)[0]["config"]
            if isinstance(config, dict):
                return path / MANIFEST, config
    return None


def fitted(loaded: Meta, built: Meta) -> Meta:
    """Loaded meta-parameters on the device of the built ones, if their shapes agree.

    In the order of the built ones, because a checkpoint file sorts them by name, and with their
    groups, because it has none that is empty.

    Raises:
        ValueError: they do not agree; with both.
    """
    flat = [
        {f"{group}/{name}": value for group, part in meta.items() for name, value in part.items()}
        for meta in (loaded, built)
    ]
    for what, of in (("shapes", lambda value: tuple(value.shape)), ("types", lambda v: v.dtype)):
        found, needed = ({name: of(value) for name, value in each.items()} for each in flat)
        if found != needed:
            raise ValueError(f"have {what} {found}, but {needed} are needed")
    device = tree.leaves(built)[0].device
    return {
        group: {name: loaded[group][name].to(device) for name in part}
        for group, part in built.items()
    }


def locate(path: Path, which: Path | None = None) -> Path:
    """The folder of a run's checkpoint.

    Args:
        path: a run folder, or what else a run is named by (`rlmaml.sources`), or a checkpoint's own
            folder.
        which: None is the run's newest that is whole; `best`, the best by validation or else by
            training return; or a checkpoint's own folder.

    Raises:
        CheckpointError: there is none, or none has been found best so far.
        ConfigError: a name of no run.
    """
    path = sources.resolve(path)
    if which is not None and which != Path("best"):
        path = which
    if (path / MANIFEST).exists() or not (path / "checkpoints").is_dir():
        return path
    if which != Path("best"):
        return latest(path / "checkpoints")
    best = _best(path / "checkpoints")
    if not best:
        rest = ", or train on" if (latest(path / "checkpoints") / STATE).exists() else ""
        raise CheckpointError(
            f"{path} has no best checkpoint{' yet' * bool(rest)}: use its newest{rest}."
        )
    chosen = path / "checkpoints" / f"{best:06d}"
    try:
        _verified(chosen)
    except CheckpointError as problem:
        newest = latest(path / "checkpoints")
        what = str(problem).removesuffix(_ADVICE)
        warnings.warn(
            f"{what} It was the best. {newest} is used instead.", DamageWarning, stacklevel=2
        )
        return newest
    return chosen


def _best(folder: Path) -> int | None:
    """The iteration of the best checkpoint, as the newest manifest that is whole has it."""
    for iteration in reversed(available(folder)):
        with contextlib.suppress(*_UNREADABLE):
            manifest, _ = _read_manifest(folder / f"{iteration:06d}")
            if "best" in manifest:
                return _iteration(manifest["best"])
    return load(latest(folder)).best  # of an earlier version, which kept it elsewhere


def _iteration(stored: Any) -> Any:
    """An iteration, or none, that a file names.

    Raises:
        ValueError: something else.
    """
    if stored is not None and (type(stored) is not int or stored < 0):
        raise ValueError(f"{stored!r} is no iteration")
    return stored


def available(folder: Path) -> list[int]:
    """The iterations with a checkpoint, or a link to one, ascending."""
    return sorted(
        int(path.name)
        for path in folder.glob("[0-9]*")
        if _CHECKPOINT.fullmatch(path.name) and path.is_dir()
    )


def latest(folder: Path) -> Path:
    """The newest checkpoint in a run's checkpoint folder that is whole.

    A `DamageWarning` says of a newer one that it is damaged.

    Raises:
        CheckpointError: there is none.
    """
    problems: list[CheckpointError] = []
    for iteration in reversed(available(folder)):
        path = folder / f"{iteration:06d}"
        try:
            _verified(path)
        except CheckpointError as problem:
            problems.append(problem)
            continue
        if problems:
            what = str(problems[0]).removesuffix(_ADVICE)
            warnings.warn(f"{what}{path} is used instead.", DamageWarning, stacklevel=2)
        return path
    if not problems:
        raise CheckpointError(f"{folder} holds no checkpoint.")
    what = str(problems[0]).removesuffix(_ADVICE).rstrip()
    raise CheckpointError(f"No checkpoint in {folder} is whole, the newest included: {what}")


def meta_digest(path: Path) -> str:
    """The SHA-256 of a checkpoint's meta-parameters, as its manifest has it; nothing is loaded.

    Raises:
        CheckpointError: a manifest that is missing, cut or without it.
    """
    try:
        return json_files.read(path / MANIFEST)["sha256"][META]
    except _UNREADABLE as problem:
        raise _incomplete(path, problem) from problem


def _incomplete(path: Path, problem: Exception) -> CheckpointError:
    reason = f"{type(problem).__name__}: {problem}"
    return CheckpointError(f"{path} is not a complete checkpoint ({reason}). {_ADVICE}")


def _altered(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} does not match its checksum: it was cut or altered. {_ADVICE}")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
