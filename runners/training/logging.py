"""Destinations of a run's metrics while it trains."""

from __future__ import annotations

import resource
import sys

from rlmaml.errors import ConfigError
from rlmaml.types import Metrics
from runners.run_dir import RunDir


def require_tensorboard() -> None:
    """Check that event files can be written.

    Raises:
        ConfigError: TensorBoard that is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as problem:
        raise ConfigError(
            "--tensorboard needs TensorBoard: pip install 'rlmaml[tensorboard]'."
        ) from problem


def check_name(folder: RunDir) -> None:
    """Check that event files can be written into a run's folder.

    Raises:
        ConfigError: a path that is not UTF-8, which TensorBoard cannot open.
    """
    try:
        str(folder.path).encode()
    except UnicodeEncodeError as problem:
        raise ConfigError(
            f"--tensorboard cannot write into {folder.path}, whose name is not UTF-8: take another "
            "folder, or leave it out."
        ) from problem


class EventWriter:
    """Writes the numbers of lines of metrics to TensorBoard's event files.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunDir) -> None:
        from torch.utils.tensorboard import SummaryWriter

        check_name(folder)
        self._writer = SummaryWriter(str(folder.tensorboard))

    def write(self, line: Metrics) -> None:
        """Write a line of metrics, at once."""
        for name, value in line.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, line["iteration"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def peak_memory() -> float:
    """The most memory that this process has held, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform != "darwin" else 1024**3)
