"""A run's folder.

config.json  metrics.jsonl  checkpoints/  tensorboard/  evaluation.{json,csv}  plots/
baselines/  comparison.{json,csv}  videos/  report.html
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.types import Metrics
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
        self.tensorboard = path / "tensorboard"
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
        started_from = None if init is None else str(init)
        self._write(config, Origin(started_from, command(), versions(), versions()))

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json for a run that goes on, keeping what started it."""
        self._write(config, self.read_origin()._replace(versions=versions()))

    def _write(self, config: TrainConfig, origin: Origin) -> None:
        write_json(self._config, {**origin._asdict(), "config": config.to_dict()})

    def read_config(self) -> TrainConfig:
        """The run's configuration.

        Raises:
            ConfigError: a folder that holds no run, or whose config.json cannot be read.
        """
        if not self._config.is_file():
            if self.is_free() and self.path.exists() and any(self.path.iterdir()):
                raise ConfigError(
                    f"Nothing was started in {self.path}: the run was killed before it was. Start "
                    f"it anew, rlmaml train PRESET --out {self.path}."
                )
            raise ConfigError(f"{self.path} is not a run folder: it has no config.json.")
        return read_config(self._config)

    def read_origin(self) -> Origin:
        """Read what config.json holds beside the configuration."""
        return read_origin(self._config)

    def append_metrics(self, line: Metrics) -> None:
        """Add a line; numbers that are not finite become null, since JSON has none."""
        with open(self._metrics, "a+b") as file:
            if file.tell():  # a process killed in mid-line leaves it without its end
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(null_for_nan(line)).encode() + b"\n")

    def read_metrics(self) -> list[Metrics]:
        """One object per iteration, in order: the last attempt at each."""
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
        lines = []
        for text in self._metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue  # cut short by a kill; the iteration was done again
        return lines


def read_config(path: Path) -> TrainConfig:
    """The configuration in a run's config.json, or in a file of a configuration alone.

    Raises:
        ConfigError: a file that cannot be read, or a configuration of another version.
    """
    stored = _read(path)
    config = stored.get("config", stored)
    if not isinstance(config, dict):
        raise ConfigError(f"{path} cannot be read: its config is no JSON object.")
    try:
        return TrainConfig.from_dict(config)
    except ConfigError as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem


def read_origin(path: Path) -> Origin:
    """Read what a run's config.json holds beside the configuration; nothing, in another file.

    Raises:
        ConfigError: a file that cannot be read.
    """
    stored = _read(path)
    return Origin(**{name: stored.get(name) for name in Origin._fields})


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name its file, {path / 'config.json'}.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    if not isinstance(stored, dict):
        raise ConfigError(f"{path} cannot be read: it holds no JSON object.")
    return stored
