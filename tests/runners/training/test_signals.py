"""Signals are noted, and handled as before afterwards."""

import os
import signal

from runners.training.signals import Stop


def test_stop_restores_the_handlers():
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
