"""Stopping at the end of an iteration, so that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """While active, SIGINT and SIGTERM are noted, so that the iteration can end and be saved.

    A second one of the same kind acts at once, as it would have without us.

    Attributes:
        signal: the one that came; None until then.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Stop:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, self._old[number])
        os.write(2, b"\nStopping after this iteration...\n")  # print is not for signal handlers
