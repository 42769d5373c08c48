"""Presets of the families of other papers, in their worlds and with our settings of the learner."""

from __future__ import annotations

from dataclasses import replace

from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import EnvConfig
from rlmaml.models.mlp import PolicyConfig
from runners.presets.base import Preset
from runners.presets.control import HALF_CHEETAH_DIR_V5

# ProMP's network. A small last layer begins without running; standardized observations and longer
# inner steps are what learns ten times as fast as without (docs/families.md).
PROMP_HALF_CHEETAH_DIR = replace(
    HALF_CHEETAH_DIR_V5,
    preset="promp-half-cheetah-dir",
    env=EnvConfig("rlmaml/ProMPHalfCheetahDir-v0", {"balanced": True}),
    iterations=200,
    policy=PolicyConfig(hidden=(64, 64), activation="tanh", output_gain=0.1),
    inner=InnerConfig(step_size=0.5),
    normalize_observations=True,
)

PRESETS: dict[str, Preset] = {
    "promp-half-cheetah-dir": Preset(
        "HalfCheetah, run forward or backward, as in Rothfuss et al. 2019, dt 0.05 s",
        PROMP_HALF_CHEETAH_DIR,
    ),
}
