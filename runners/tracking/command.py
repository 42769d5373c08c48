"""`rlmaml track`: what a run has in its folder, sent to a tracker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from rlmaml.errors import ConfigError
from runners.errors import UnwrittenError
from runners.run_dir import RunDir
from runners.tracking.link import linked
from runners.tracking.trackers import TRACKERS, check_trackers

Name = Literal[tuple(TRACKERS)]  # pyright: ignore[reportInvalidTypeForm]  the table's rows


@dataclass(frozen=True)
class Sent:
    """What was sent of a run to a tracker."""

    run: Path
    name: str
    sent: int
    all: int
    where: str

    def __str__(self) -> str:
        known = self.all - self.sent
        had = f"; it had {known} already" * bool(known)
        sent = f"{self.sent} iteration{'s' * (self.sent != 1)}"
        return f"{self.run}: {sent} sent to {self.name}{had}. {self.where}"


def track(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    *,
    to: tuple[Name, ...],  # pyright: ignore[reportInvalidTypeForm]
) -> str:
    """Send runs to trackers, such as wandb: all of it, or what is missing there.

    Args:
        runs: Run folders.
        to: Trackers. Each needs the extra of its name: pip install 'rlmaml[wandb]'.

    Returns:
        How many iterations were sent, for each run and tracker a line.

    Raises:
        ConfigError: no run, a package that is missing, or a tracker that fails, after the others.
    """
    if not runs or not to:
        raise ConfigError("Name a run folder and a tracker: rlmaml track DIR --to wandb.")
    for path in runs:
        check_trackers(to, path)
        RunDir(path).read_config(strict=False)
    done, failed = [], []
    for path in runs:
        for name in dict.fromkeys(to):
            try:
                done.append(str(send(RunDir(path), name)))
            except ConfigError as problem:  # another may do better
                failed.append(str(problem))
    if failed and done:
        raise UnwrittenError(ConfigError(" ".join(failed)), "\n".join(done))
    if failed:
        raise ConfigError(" ".join(failed))
    return "\n".join(done)


def send(folder: RunDir, name: str) -> Sent:
    """Send a run's metrics to a tracker, but for the iterations that it has.

    Raises:
        ConfigError: no run, one that another process is sending there, or a tracker that fails.
    """
    config = folder.read_config(strict=False)
    lines = folder.read_metrics()
    try:
        with linked(name, folder, config) as link:
            for line in lines:
                link.write(line)
            finished = bool(lines) and lines[-1]["iteration"] + 1 >= config.iterations
            link.tracker.close(finished)
            return Sent(folder.path, name, link.sent, len(lines), link.tracker.where)
    except ConfigError:
        raise
    except Exception as problem:
        notes = " ".join(getattr(problem, "__notes__", ()))
        raise ConfigError(
            f"{name} has not taken all of {folder.path}: {type(problem).__name__}: {problem} "
            f"{notes}".rstrip()
        ) from problem
