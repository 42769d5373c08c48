"""Sending a run's metrics while it trains: nothing that a tracker does reaches the training."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.types import Metrics
from runners.command_line.terminal import say
from runners.formatting import one_line
from runners.run_dir import RunDir
from runners.tracking.link import Link, linked

WAITING = 4096
"""Lines that may wait for a tracker."""
PATIENCE = 120.0
"""Seconds that a tracker may take over one call while the run goes on."""
SECONDS_TO_END = 10.0
"""Seconds that a run waits at its end, for all trackers together."""
SECONDS_TO_STOP = 1.0
"""The same where it is stopped."""

_dropped: list[str] = []


def any_dropped() -> bool:
    """True if a tracker was dropped in this process; its package may not let the process end."""
    return bool(_dropped)


@contextlib.contextmanager
def tracked(folder: RunDir, config: TrainConfig) -> Iterator[Callable[[Metrics], None]]:
    """Send a run's metrics to its trackers, those of earlier iterations first.

    A tracker that fails, or does not keep up, is dropped, and that is told. At the end trackers
    have some seconds to take what is left, and a second where somebody wants the run to stop.

    Yields:
        A function of a line of metrics, which returns at once.
    """
    names = dict.fromkeys(config.track) if processes.is_first() else ()
    lines = folder.read_metrics() if names else []
    senders = [Sender(name, folder, config, lines) for name in names]

    def send(line: Metrics) -> None:
        for sender in senders:
            sender.send(line)

    finished, seconds = False, SECONDS_TO_END
    try:
        yield send
        finished = True
    except (KeyboardInterrupt, SystemExit):
        seconds = min(seconds, SECONDS_TO_STOP)
        raise
    finally:
        for sender in senders:
            sender.end(finished)
        until = time.monotonic() + seconds
        for sender in senders:
            sender.wait(max(0.0, until - time.monotonic()))


class Sender:
    """Feeds a tracker from a thread of its own.

    Args:
        name: of the tracker.
        folder: the run.
        config: its configuration.
        lines: metrics that are there already.
    """

    def __init__(
        self, name: str, folder: RunDir, config: TrainConfig, lines: Sequence[Metrics]
    ) -> None:
        self._name, self._folder, self._config = name, folder, config
        self._before = lines
        self._lines: queue.Queue[Metrics | bool] = queue.Queue(WAITING)  # a bool ends them
        self._lock = threading.Lock()
        self._is_dropped = False
        self._since: float | None = time.monotonic()  # when the tracker was called, if it is now
        self._thread = threading.Thread(target=self._work, name=f"track-{name}", daemon=True)
        self._thread.start()

    def send(self, line: Metrics | bool) -> None:
        """Hand over a line, or drop a tracker that does not keep up; at once."""
        since = self._since
        if since is not None and time.monotonic() - since > PATIENCE:
            self._drop(f"it has not answered for {PATIENCE:g} s")
        if self._is_dropped:
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop(f"it is {WAITING} lines behind")

    def end(self, finished: bool) -> None:
        """Say that there are no more lines.

        Args:
            finished: the run has come to its end.
        """
        self.send(finished)

    def wait(self, seconds: float) -> None:
        """Wait until all is sent, so long at most."""
        if self._is_dropped:
            return
        try:
            self._thread.join(seconds)
        except KeyboardInterrupt:
            self._drop("it was not waited for")
            raise
        if self._thread.is_alive():
            self._drop("it has not taken everything before the run's end")

    def _work(self) -> None:
        try:
            with linked(self._name, self._folder, self._config) as link:
                if not self._is_dropped:
                    say(f"Tracked by {self._name}: {link.tracker.where}")
                self._feed(link)
        except BaseException as problem:  # a package may also ask for the end of the program
            notes = " ".join(getattr(problem, "__notes__", ()))
            self._drop(f"{type(problem).__name__}: {problem} {notes}")

    def _feed(self, link: Link) -> None:
        for line in self._before:
            self._since = time.monotonic()
            if self._is_dropped:
                return
            link.write(line)
        self._before = ()
        while True:
            self._since = None
            if self._lines.empty():
                link.note()
            line = self._lines.get()
            self._since = time.monotonic()
            if self._is_dropped:
                return
            if isinstance(line, bool):
                link.tracker.close(line)
                return
            link.write(line)

    def _drop(self, why: str) -> None:
        with self._lock:
            if self._is_dropped:
                return
            self._is_dropped = True
            _dropped.append(self._name)
        say(
            f"{self._name} gets no more of this run: {one_line(why)}. The run itself is not "
            "touched. What is missing there is sent by: rlmaml track "
            f"{self._folder.path} --to {self._name}"
        )
