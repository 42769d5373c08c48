"""Where a run's metrics go while it trains."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

from rlmaml.errors import ConfigError
from rlmaml.types import Metrics
from runners.run_dir import RunDir


def event_writer(folder: RunDir) -> Callable[[Metrics], None]:
    """A function that writes the numbers of a line of metrics to TensorBoard's event files.

    Raises:
        ConfigError: TensorBoard that is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise ConfigError(
            "--tensorboard needs TensorBoard: pip install 'rlmaml[tensorboard]'."
        ) from problem
    writer = SummaryWriter(str(folder.tensorboard))

    def write(line: Metrics) -> None:
        for name, value in line.items():
            if isinstance(value, int | float):
                writer.add_scalar(name, value, line["iteration"])
        writer.flush()

    return write


def peak_memory() -> float:
    """The most memory that this process has held, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform != "darwin" else 1024**3)
