"""Stopping at the end of an iteration, so that nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from rlmaml import processes
from runners.command_line.terminal import tell_from_handler


class Stop:
    """While active, SIGINT, SIGTERM and SIGHUP are noted, so that the iteration can be saved.

    A second SIGINT or SIGTERM acts at once, as it would have without us. SIGHUP, of a terminal that
    was lost, comes from the shell and the kernel both, so that a second one means nothing; one that
    was ignored when we started, as `nohup` does, stays ignored.

    Attributes:
        signal: the one that came first; None until then.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Stop:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            hangup = getattr(signal, "SIGHUP", None)  # Windows has none
            if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
                numbers.append(hangup)
            self._old = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def agreed(self) -> bool:
        """True if a signal has come to any process; all then know of it, and stop together."""
        number = processes.highest(int(self.signal or 0))
        if number and self.signal is None:
            self.signal = signal.Signals(number)
        return number > 0

    def __exit__(
        self, kind: type | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
            if processes.is_first():
                tell_from_handler("\nStopping after this iteration...\n")
        # torchrun passes on what a terminal has sent already, and waits before it kills.
        alone = processes.size() == 1 or processes.hosts()
        if number in (signal.SIGINT, signal.SIGTERM) and alone:
            signal.signal(number, self._old[number] or signal.SIG_DFL)
