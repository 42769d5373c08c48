"""Start `rlmaml train` in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO


def start_training(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    quiet: bool = False,
    errors: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `rlmaml train`, with what is imported here, and in a session of its own.

    Ctrl-C in the terminal then comes by this process, and once.

    Args:
        arguments: of `rlmaml train`; what they name was trusted already.
        environment: variables.
        quiet: nothing goes in by stdin or out by stdout, which otherwise are those of this process.
        errors: where stderr goes; to that of this process if not given.
    """
    nothing = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "runners", "train", *arguments, "--trust"],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=nothing,
        stdout=nothing,
        stderr=errors,
        start_new_session=True,
    )
