"""Folders of runs that commands read and write results into, by whatever a run is named by."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rlmaml import processes, sources, whole_folders
from rlmaml.errors import ConfigError
from runners.command_line.terminal import say
from runners.run_dir import RunDir

COPIES = Path("runs")
"""The folder of copies of what was shared."""


def opened(run: Path) -> RunDir:
    """A run's folder.

    What was shared is copied first, to runs/pretrained/NAME or runs/hub/USER/NAME@COMMIT, since
    results are written into a run's folder. A copy that is there is taken, with its results.

    Args:
        run: a folder, or what else a run is named by (`rlmaml.sources`).

    Raises:
        ConfigError: a name of no run, what cannot be downloaded, or a copy that is of another run
            or cannot be written.
    """
    with processes.together(ConfigError):
        source = sources.find(run)
        if source is None:
            return RunDir(run)
        place = COPIES / source.copy
        if processes.is_first():
            _copy(source.path, place, sources.spelled(run))
    return RunDir(place)


def _copy(source: Path, place: Path, name: str) -> None:
    if not place.exists() and _made(source, place):
        say(f"{name} is copied to {place}, where results go.")
    elif not _manifests(source).items() <= _manifests(place).items():
        raise ConfigError(
            f"{place} is no copy of what {name} is now: move it away to have a new one."
        )


def _made(source: Path, place: Path) -> bool:
    """Copy what was shared; False if another process was first.

    Raises:
        ConfigError: it cannot be written.
    """
    _clear(place)
    staging = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        for file in (each for pattern in sources.FILES for each in source.glob(pattern)):
            target = staging / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)  # the cache has links
        staging.rename(place)
    except OSError as problem:
        shutil.rmtree(staging, ignore_errors=True)
        if place.is_dir():
            return False
        raise ConfigError(f"Cannot write {place}: {problem.strerror}.") from problem
    return True


def _clear(place: Path) -> None:
    """Remove copies that processes left which were killed; not those of others at work."""
    staging = re.compile(rf"\.{re.escape(place.name)}\.([1-9][0-9]*)")
    for path in place.parent.glob(".*"):
        found = staging.fullmatch(path.name)
        if found and not _is_alive(int(found[1])):
            whole_folders.clear(place.parent, re.compile(re.escape(path.name)))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return process != os.getpid()  # an earlier one of that number


def _manifests(run: Path) -> dict[str, bytes]:
    """The manifest of each checkpoint, which tells it from all others."""
    found = run.glob("checkpoints/*/manifest.json")
    return {path.parent.name: path.read_bytes() for path in found}
