"""Process-wide settings of torch and of memory, made once by the program that runs."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from rlmaml.config import TrainConfig
from runners.environments import available_threads


def configure(config: TrainConfig) -> None:
    """Set torch's threads, precision and determinism as a run wants them.

    Args:
        config: of which `threads`, `tf32` and the devices are read.
    """
    torch.set_num_threads(available_threads(config))
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = config.tf32  # on by default, of convolutions
    if any(name.startswith("cuda") for name in (config.device, config.sampling_device)):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensors.

    Left alone it gives megabytes back to the system as soon as they are free, and the next tensor
    of that size waits for every page of them anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # of malloc.h
        mallopt(mmap_threshold, 32 * 1024**2)  # the most it takes
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 64 * 1024**2)
