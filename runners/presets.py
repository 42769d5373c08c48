"""What `rlmaml train PRESET` can train, ready-made."""

from __future__ import annotations

from dataclasses import replace

from rlmaml.algorithms.maml import InnerConfig
from rlmaml.models import PolicyConfig
from rlmaml.trpo import TrustRegion
from runners.config import EnvConfig, TrainConfig

_FAST_CURVATURE = TrustRegion(max_kl=0.02, fisher_fraction=0.1)

HALF_CHEETAH_DIR = TrainConfig(
    preset="half-cheetah-dir",
    env=EnvConfig("rlmaml/HalfCheetahDir-v0", {"frame_skip": 1}),
    trust_region=_FAST_CURVATURE,
)

PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "half-cheetah-dir": ("HalfCheetah, run forward or backward, dt .01 s", HALF_CHEETAH_DIR),
    "half-cheetah-dir-v5": (
        "The same at gymnasium's own time step, dt .05 s",
        replace(
            HALF_CHEETAH_DIR,
            preset="half-cheetah-dir-v5",
            env=EnvConfig("rlmaml/HalfCheetahDir-v0"),
            horizon=100,
        ),
    ),
    "half-cheetah-vel": (
        "HalfCheetah, run at a goal velocity of 0 to 2 m/s, dt .01 s",
        replace(
            HALF_CHEETAH_DIR,
            preset="half-cheetah-vel",
            env=EnvConfig("rlmaml/HalfCheetahVel-v0", {"frame_skip": 1}),
            tasks=40,
            iterations=200,
        ),
    ),
    "ant-dir": (
        "Ant, walk forward or backward, dt .05 s",
        TrainConfig(
            preset="ant-dir",
            env=EnvConfig("rlmaml/AntDir-v0"),
            iterations=300,
            trust_region=_FAST_CURVATURE,
        ),
    ),
    "ant-vel": (
        "Ant, walk at a goal velocity of 0 to 3 m/s, dt .05 s",
        TrainConfig(
            preset="ant-vel",
            env=EnvConfig("rlmaml/AntVel-v0"),
            iterations=300,
            tasks=40,
            trust_region=_FAST_CURVATURE,
        ),
    ),
    "navigation": (
        "A point that walks to a goal it cannot see, in the plane",
        TrainConfig(
            preset="navigation",
            env=EnvConfig("rlmaml/Navigation2D-v0"),
            horizon=100,
            iterations=100,
            inner=InnerConfig(step_size=0.5),
            policy=PolicyConfig(),
            trust_region=TrustRegion(max_kl=0.01),
        ),
    ),
}
