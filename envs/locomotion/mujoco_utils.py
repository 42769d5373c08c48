"""MuJoCo, as every robot here uses it: quiet, and honest about a simulation that blew up."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import gymnasium.envs.mujoco
import mujoco
import numpy as np
from numpy.typing import NDArray

ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
"""Gymnasium's own model files."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""CPU time that a container may take in a period, both in microseconds (Linux)."""

logger = logging.getLogger(__name__)
# Without a handler Python prints warnings to stderr; an application that configures logging
# still receives these.
logger.addHandler(logging.NullHandler())

# BADQPOS, BADQVEL, BADQACC, BADCTRL. MuJoCo answers the first three by putting the simulation
# back to its default state in the middle of a step and going on; the count is the only sign.
_FATAL = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADCTRL.value + 1)


def log_warnings() -> None:
    """Send MuJoCo's warnings to the Python logger of this module.

    Left alone, the engine prints them and writes MUJOCO_LOG.TXT into the working directory, for
    a deprecated attribute in gymnasium's half_cheetah.xml already. The handler is one for the
    whole process, so a handler that somebody else has set stays.
    """
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log)


def load(asset: str) -> mujoco.MjModel:
    """One of gymnasium's own models, the file that its v5 environment loads."""
    log_warnings()
    return mujoco.MjModel.from_xml_path(str(ASSETS / asset))


def diverged(counts: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Mask of the simulations that blew up since they were last reset, `[M]`.

    `counts` is `[M, 7]`: how often each warning of `mujoco.mjtWarning` came. A reset clears it.
    """
    return np.any(counts[:, _FATAL] > 0, axis=1)


def available_cpus() -> int:
    """CPUs that this process may use; MuJoCo's own default counts those of the host.

    A container may be given the time of so many CPUs, and run on any.
    """
    may_run_on = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        may_run_on = len(os.sched_getaffinity(0))
    try:
        quota, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no such control group, or "max"
        return may_run_on
    return max(1, min(may_run_on, math.ceil(quota / period)))


def _log(message: str) -> None:
    # The deprecation is gymnasium's to mend, and says nothing about a run.
    level = logging.DEBUG if "is deprecated" in message else logging.WARNING
    logger.log(level, message)
