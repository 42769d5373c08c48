"""A run's folder.

config.json  metrics.jsonl  checkpoints/  tensorboard/  evaluation.{json,csv}  plots/
baselines/  comparison.{json,csv}  videos/  report.html
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rlmaml.errors import ConfigError
from runners.config import TrainConfig
from runners.io import _finite, versions, write_json


class RunDir:
    """Where a run keeps its things.

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
        """Whether a new run can start here.

        Raises:
            ConfigError: there is something already.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ConfigError(
                f"{self.path} exists already: go on with it (--resume {self.path}) or give "
                "another place (--out DIR)."
            )

    def create(self, config: TrainConfig, *, init: Path | None = None) -> None:
        """Start a new run here, noting what it started from.

        Raises:
            ConfigError: there is something already, or the folder cannot be made.
        """
        self.check_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"Cannot make {self.path}: {problem.strerror}.") from problem
        self.write_config(config, init=init)

    def write_config(self, config: TrainConfig, *, init: Path | None = None) -> None:
        """Write config.json, keeping on a resume what started the run."""
        started: dict[str, Any] = {"init": None if init is None else str(init)}
        started["started_with"] = versions()
        if self._config.exists():
            started = json.loads(self._config.read_text())
        write_json(self._config, {**started, "config": config.to_dict(), "versions": versions()})

    def read_config(self) -> TrainConfig:
        """The run's configuration.

        Raises:
            ConfigError: not a run folder, or its config.json cannot be read.
        """
        try:
            return TrainConfig.from_dict(json.loads(self._config.read_text())["config"])
        except OSError as problem:
            raise ConfigError(
                f"{self.path} is not a run folder: it has no config.json."
            ) from problem
        except (ValueError, KeyError, TypeError) as problem:
            raise ConfigError(f"{self._config} cannot be read: {problem}") from problem

    def read_origin(self) -> dict[str, Any]:
        """What config.json holds beside the configuration.

        `init`: what the run started from, or None; `started_with` and `versions`: the versions it
        was started and last gone on with, where they were noted.
        """
        stored = json.loads(self._config.read_text())
        return {name: stored.get(name) for name in ("init", "started_with", "versions")}

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add a line; numbers that are not finite become null, since JSON has none."""
        line = _finite(line)
        with open(self._metrics, "a+b") as file:
            if file.tell():  # a process killed in mid-line leaves it without its end
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """One object per iteration, in order: the last attempt at each."""
        last: dict[int, dict[str, Any]] = {}
        for line in self._lines():
            last[line["iteration"]] = line
        return [last[iteration] for iteration in sorted(last)]

    def attempts(self) -> int:
        """How often the run has been started and got as far as writing a metric."""
        return max((line["attempt"] for line in self._lines()), default=0)

    def _lines(self) -> list[dict[str, Any]]:
        if not self._metrics.exists():
            return []
        lines = []
        for text in self._metrics.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue  # cut short by a kill; the iteration was done again
        return lines
