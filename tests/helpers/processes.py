"""Python in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run_python(code, folder):
    """The finished process of a program that is run in a folder, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
