"""A run's connection to a tracker, and the note in the run folder of what the tracker has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rlmaml.config import TrainConfig, flat
from rlmaml.errors import ConfigError
from rlmaml.types import Metrics
from runners.formatting import printable
from runners.io import read_json, write_json
from runners.lock import lock
from runners.run_dir import RunDir
from runners.tracking.base import TrackedRun, Tracker, numbers
from runners.tracking.trackers import TRACKERS


class Link:
    """Feeds a tracker with each iteration once, in order.

    What it has is noted in tracking/NAME.json of the run folder.

    Args:
        name: of the tracker.
        folder: the run.
        config: its configuration.

    Attributes:
        tracker: where lines go.
        sent: how many went there.
    """

    def __init__(self, name: str, folder: RunDir, config: TrainConfig) -> None:
        self._note = folder.tracking / f"{name}.json"
        id, self._last = self._read()
        parts = folder.path.absolute().parts[-2:]
        known = TrackedRun(
            path=folder.path,
            name=printable("/".join(parts)),
            config=flat(config.to_dict()),
            id=id,
            first=self._last + 1,
        )
        try:
            self.tracker: Tracker = TRACKERS[name](known)
        except Exception as problem:
            if id is not None:
                problem.add_note(f"(To send all to a new run there, remove {self._note}.)")
            raise
        self.sent = 0
        self.note()

    def write(self, line: Metrics) -> None:
        """Send a line of metrics, unless the tracker has its iteration."""
        if line["iteration"] > self._last:
            self.tracker.write(line["iteration"], numbers(line))
            self._last = line["iteration"]
            self.sent += 1

    def note(self) -> None:
        """Note what the tracker has."""
        write_json(self._note, {"id": self.tracker.id, "last": self._last})

    def _read(self) -> tuple[str | None, int]:
        """The tracker's name for the run, and the last iteration that it has; None, -1 of none."""
        try:
            stored = read_json(self._note)
        except FileNotFoundError:
            return None, -1
        id, last = stored.get("id"), stored.get("last")
        if not isinstance(id, str) or not isinstance(last, int):
            raise ConfigError(
                f"{self._note} cannot be read: remove it, and all is sent to a new run there."
            )
        return id, last


@contextlib.contextmanager
def linked(name: str, folder: RunDir, config: TrainConfig) -> Iterator[Link]:
    """Connect a run with a tracker, which nothing else feeds with it meanwhile.

    Raises:
        ConfigError: another process is at it, or a note that cannot be read.
    """
    folder.tracking.mkdir(exist_ok=True)
    busy = f"Another process sends {folder.path} to {name}"
    with lock(folder.tracking / f".{name}.lock", busy=busy, instead="wait for its end"):
        link = Link(name, folder, config)
        try:
            yield link
        finally:
            link.note()
