"""A run's folder.

config.json  metrics.jsonl  checkpoints/  tracking/  evaluation.{json,csv}  plots/
baselines/  comparison.{json,csv}  videos/  report.html
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from rlmaml import checkpoint, json_files, places, processes, sources, trust
from rlmaml.config import TrainConfig, changes
from rlmaml.errors import ConfigError, DamageWarning
from rlmaml.types import Metrics
from rlmaml.values import MOST
from runners.formatting import METRICS
from runners.io import command, null_for_nan, versions, write_json
from runners.lock import lock

LOCK = ".lock"
"""File that a training holds locked while it is at work in a folder."""
_LEFT_OVER = re.compile(r"\.lock|\.config\.json\.[0-9]+")
"""Files of a run that was killed before it had begun: the lock, and a half-written config.json."""


class Origin(NamedTuple):
    """Contents of config.json beside the configuration."""

    init: str | None = None  # the run or checkpoint whose parameters it started from
    command: str | None = None  # what made it, where that was a command
    started_with: dict[str, str] | None = None  # versions, where they were noted
    versions: dict[str, str] | None = None  # those it was last gone on with
    launcher: str | None = None  # a mark of the torchrun that began it


def repeatable(line: Metrics) -> Metrics:
    """What the same run has again in a line of metrics, to the bit: no clocks, no attempts."""
    skipped = ("seconds", "attempt")
    return {k: v for k, v in line.items() if k not in skipped and not k.startswith("time/")}


class RunDir:
    """A run's folder, where it keeps its things.

    Metrics are appended, never rewritten: a run resumed from a checkpoint writes some
    iterations again, each line with its `attempt`, and readers take the last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.plots = path / "plots"
        self.evaluation = path / "evaluation.json"
        self.tracking = path / "tracking"
        self._config = path / "config.json"
        self._metrics = path / "metrics.jsonl"

    def check_free(self) -> None:
        """Check that a new run can start here.

        Raises:
            ConfigError: a folder that holds something already.
        """
        if not self.is_free():
            raise ConfigError(
                f"{self.path} exists already: go on with it (--resume {self.path}) or give "
                "another place (--out DIR)."
            )

    def is_free(self) -> bool:
        """True if there is nothing here, or no more than a run left that was killed at once."""
        if not self.path.is_dir():
            return not self.path.exists()
        return all(_LEFT_OVER.fullmatch(path.name) for path in self.path.iterdir())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made if missing.

        Raises:
            ConfigError: another training is at work there, or the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"Cannot make {self.path}: {problem.strerror}.") from problem
        with lock(self.path / LOCK):
            for path in self.path.glob(f".{self._config.name}.*"):
                if _LEFT_OVER.fullmatch(path.name):  # of a process that was killed while writing
                    with contextlib.suppress(OSError):
                        path.unlink()
            yield

    def create(self, config: TrainConfig, *, init: Path | None = None) -> None:
        """Start a new run here, noting what it started from and what made it.

        Raises:
            ConfigError: a folder that holds something already, or that cannot be made.
        """
        self.check_free()
        started_from = None if init is None else sources.spelled(init)
        origin = Origin(started_from, command(), versions(), versions(), processes.launcher())
        self.write(config, origin)

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json for a run that goes on, keeping what started it."""
        self.write(config, self.read_origin()._replace(versions=versions()))

    def write(self, config: TrainConfig, origin: Origin) -> None:
        """Write config.json."""
        content: Any = null_for_nan({**origin._asdict(), "config": config.to_dict()})
        write_json(self._config, {**content, _DIGEST: _digest(content)})

    def read_config(self, *, strict: bool = True) -> TrainConfig:
        """The run's configuration.

        Args:
            strict: refuse a file that is damaged or was edited; else a `DamageWarning` says so.

        Raises:
            ConfigError: a folder that holds no run, or whose config.json cannot be read.
        """
        if not self._config.is_file():
            if self.is_free() and self.path.exists() and any(self.path.iterdir()):
                raise ConfigError(
                    f"Nothing was started in {self.path}: the run was killed before it was. Start "
                    f"it anew, rlmaml train PRESET --out {self.path}."
                )
            about = places.describe(self.path)
            if not self.path.exists():
                about = "there is nothing of that name, check it."
            raise ConfigError(f"{self.path} is not a run folder: {about}")
        return read_config(self._config, strict=strict)

    def read_origin(self) -> Origin:
        """Read what config.json holds beside the configuration."""
        return read_origin(self._config)

    def append_metrics(self, line: Metrics) -> None:
        """Add a line; numbers that are not finite become null, since JSON has none.

        A line has a checksum, so that a damaged one is told from a whole one.
        """
        stored: Any = null_for_nan(line)
        stored.pop(_CHECKSUM, None)  # a metric of one's own
        stored = {**stored, _CHECKSUM: _checksum(stored)}
        with open(self._metrics, "a+b") as file:
            if file.tell():  # a process killed in mid-line leaves it without its end
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(stored).encode() + b"\n")

    def read_metrics(self) -> list[Metrics]:
        """One object per iteration, in order: the last attempt at each.

        A `DamageWarning` says which lines cannot be read and are left out.
        """
        last: dict[int, Metrics] = {}
        for line in self._lines():
            last[line["iteration"]] = line
        return [last[iteration] for iteration in sorted(last)]

    def attempts(self) -> int:
        """Count how often the run has been started and got as far as writing a metric."""
        return max((line["attempt"] for line in self._lines()), default=0)

    def _lines(self) -> list[Metrics]:
        if not self._metrics.exists():
            return []
        lines, damaged = [], []
        try:
            with open(self._metrics, "rb") as file:
                for number, content in enumerate(_split(file), 1):
                    line = _metrics_line(content)
                    if line is not None:
                        lines.append(line)
                    elif content.strip():
                        damaged.append(number)
        except OSError as problem:
            raise ConfigError(f"{self._metrics} cannot be read: {problem.strerror}.") from problem
        if damaged:
            shown = ", ".join(map(str, damaged[:20])) + ", ..." * (len(damaged) > 20)
            warnings.warn(
                f"Line{'s' * (len(damaged) > 1)} {shown} of {self._metrics} cannot be read, and "
                f"{'are' if len(damaged) > 1 else 'is'} left out.",
                DamageWarning,
                stacklevel=3,
            )
        return lines


_CHECKSUM = "crc"
"""The name of a line's checksum; lines of earlier versions have none."""
_LONGEST = 2**24
"""Bytes of a line of metrics at most."""


def _metrics_line(content: bytes) -> Metrics | None:
    """A line of metrics; None if it is none, as one cut short by a kill or damaged."""
    if len(content) > _LONGEST:
        return None
    try:
        line = json_files.parse(content)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    known = line.pop(_CHECKSUM, None)
    if known is not None and known != _checksum(line):
        return None
    for name in ("iteration", "attempt"):
        if type(line.get(name)) is not int or not 0 <= line[name] <= MOST:
            return None
    if known is None and not _is_complete(line):
        return None
    return line if all(_fits(name, value) for name, value in line.items()) else None


def _is_complete(line: Metrics) -> bool:
    """True if a line without a checksum has what every line of a run has."""
    names = [f"{metric}/{when}" for metric in METRICS for when in ("pre", "post")]
    scores = [name for name in names if name in line]
    return len(scores) > 1 and "env_steps" in line and "seconds" in line


def _fits(name: str, value: object) -> bool:
    """False for a value that those who read a metric of that name could not take."""
    if name in ("seconds", "env_steps"):
        return _is_number(value)
    if name.endswith(("/pre", "/post")):
        return value is None or _is_number(value)
    return type(value) is not int or _is_number(value)


def _is_number(value: object) -> bool:
    """True for a number that is finite and still so as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def _split(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long for a line of ours, its beginning."""
    while content := file.readline(_LONGEST + 1):
        yield content
        while len(content) > _LONGEST and not content.endswith(b"\n"):
            content = file.readline(_LONGEST + 1)


def _checksum(value: object) -> int:
    return crc32(json.dumps(value, sort_keys=True).encode())


def read_config(path: Path, *, strict: bool = True) -> TrainConfig:
    """The configuration in a run's config.json, or in a file of a configuration alone.

    A run's is compared with its own checksum, and with what its newest checkpoint says.

    Args:
        path: the file.
        strict: refuse a file that is damaged or was edited, or whose environment's module the
            reader has not named; else a `DamageWarning` says so of the first, and the configuration
            is one to look at.

    Raises:
        ConfigError: a file that cannot be read, that is damaged or was edited, or a configuration
            of another version.
        UntrustedError: a configuration that names a module, which its reader has not.
    """
    stored = _read(path)
    config = stored.get("config", stored)
    kept = checkpoint.stored_config(path.parent / "checkpoints") if "config" in stored else None
    whole = _DIGEST not in stored or stored[_DIGEST] == _digest(stored)
    try:
        with trust.reading(path):
            made = TrainConfig.from_dict(config, to_be_made=strict)
    except trust.UntrustedError:
        raise
    except ConfigError as problem:
        if not whole:
            raise ConfigError(_edited(path, f"look at {problem}", kept)) from problem
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    known = None if kept is None else _known(*kept, to_be_made=strict)
    different = [] if known is None else _differences(known, made, all_fields=not whole)
    if different or not whole:
        named = f"it has {'; '.join(different)}" if different else "no setting that decides results"
        if strict and (different or known is None):
            raise ConfigError(_edited(path, named if different else "", kept))
        warnings.warn(_edited(path, named, kept), DamageWarning, stacklevel=2)
    return made


def _known(manifest: Path, config: dict[str, Any], *, to_be_made: bool) -> TrainConfig | None:
    """The configuration in a checkpoint's manifest; None if it is of a version of other words."""
    try:
        with trust.reading(manifest):
            return TrainConfig.from_dict(config, to_be_made=to_be_made)
    except trust.UntrustedError:
        raise
    except ConfigError:
        return None


def _differences(known: TrainConfig, read: TrainConfig, *, all_fields: bool) -> list[str]:
    """The settings that are others than a checkpoint's, each as "name: known -> read".

    Places of data may have moved: that they are the same data is checked when they are read.

    Args:
        known: the checkpoint's.
        read: the file's.
        all_fields: also those that a run that is gone on with may change.
    """
    places = {
        name: value
        for name, value in read.env.kwargs.items()
        if isinstance(value, str) and os.sep in value and name in known.env.kwargs
    }
    env = dataclasses.replace(known.env, kwargs={**known.env.kwargs, **places})
    return changes(dataclasses.replace(known, env=env), read, all_fields=all_fields)


def read_origin(path: Path) -> Origin:
    """Read what a run's config.json holds beside the configuration; nothing, in another file.

    Raises:
        ConfigError: a file that cannot be read, or holds something else there.
    """
    stored = _read(path)
    origin = Origin(**{name: stored.get(name) for name in Origin._fields})
    for name, value in origin._asdict().items():
        kind = dict if name in ("started_with", "versions") else str
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{path} cannot be read: its {name} is {value!r}.")
    return origin


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name its file, {path / 'config.json'}.")
    try:
        stored = json_files.read(path)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    if not isinstance(stored, dict):
        raise ConfigError(f"{path} cannot be read: it holds no JSON object.")
    if "config" in stored:
        if not isinstance(stored["config"], dict):
            raise ConfigError(f"{path} cannot be read: its config is no JSON object.")
        unknown = stored.keys() - {*Origin._fields, "config", _DIGEST}
        if unknown:
            raise ConfigError(
                f"{path} cannot be read: it has fields unknown to this version: "
                f"{', '.join(sorted(unknown))}."
            )
    return stored


_DIGEST = "sha256"
"""The name of a file's checksum; files of earlier versions have none."""


def _digest(stored: dict[str, Any]) -> str:
    rest = {name: value for name, value in stored.items() if name != _DIGEST}
    return json_files.digest(rest)


def _edited(path: Path, what: str, kept: tuple[Path, object] | None) -> str:
    named = f" ({what})" if what else ""
    back = f", as `config` in {kept[0]} has it" if kept else ""
    return (
        f"{path} is damaged or was edited{named}: put it back as it was{back}, or remove its "
        f"{_DIGEST} if all else in it is right. Other settings are given as options."
    )
