"""Presets of control: robots, navigation, bandits, tables, and sinusoids played for rewards."""

from __future__ import annotations

from dataclasses import replace

from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import EnvConfig, Options, TrainConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.outer.trust_region import TrustRegion
from runners.presets.base import Preset

# A run on two CPU cores takes minutes with these: curvature on a tenth of the data, and inner
# steps that learn from short-horizon advantages (a tenth of a second). Their 20 episodes are too
# few for longer ones, which the outer step, with all tasks' episodes, can afford.
_TRUST_REGION = TrustRegion(max_kl=0.02, fisher_fraction=0.1)
_INNER = AdvantageConfig(discount=0.9, gae_lambda=0.9)
_OUTER = AdvantageConfig(discount=0.99, gae_lambda=0.95)

ROBOTS = TrainConfig(
    policy=PolicyConfig(
        activation="tanh",
        output_gain=0.1,  # nobody begins by running, backward above all
    ),
    # Trained for one step. A walker of two directions had 317 after it, 286 and 231 after two more
    # as long, and 314 and 321 after two a tenth as long (seed 101).
    inner=InnerConfig(later_step_share=0.1),
    # Ten products leave the standard deviation to take the trust region: half-cheetah-dir had 373
    # after 60 iterations, and 498 with twenty (seed 100).
    trust_region=replace(_TRUST_REGION, cg_iterations=20),
    inner_advantages=_INNER,
    outer_advantages=_OUTER,
    normalize_observations=True,
)
"""What robots learn with; docs/results/README.md has what each setting is worth."""

HALF_CHEETAH_DIR = replace(
    ROBOTS,
    preset="half-cheetah-dir",
    env=EnvConfig("rlmaml/HalfCheetahDir-v0", {"frame_skip": 1}),
    iterations=120,
)

# Gymnasium's own time step, five times as long: the same horizons in seconds are shorter in steps.
HALF_CHEETAH_DIR_V5 = replace(
    ROBOTS,
    preset="half-cheetah-dir-v5",
    env=EnvConfig("rlmaml/HalfCheetahDir-v0"),
    iterations=120,
    horizon=100,
    inner_advantages=AdvantageConfig(discount=0.7, gae_lambda=0.9),
    outer_advantages=AdvantageConfig(discount=0.97, gae_lambda=0.9),
)

# With actions that are held for gymnasium's .05 s an ant is on its back after 60 steps, and had
# learned nothing after a million of them (seed 100); with .02 s it stands for 160.
ANT_DIR = replace(
    ROBOTS,
    preset="ant-dir",
    env=EnvConfig("rlmaml/AntDir-v0", {"frame_skip": 2}),
    iterations=60,
    # With a standard deviation of 1 an ant is shaken more than it walks: 42 after 24 iterations,
    # with a half 58, and with steps of .5 and .15 in place of 1.5 as well 83 and 115 (seed 100).
    policy=replace(ROBOTS.policy, hidden=(64, 64), init_log_std=-0.7),
    inner=replace(ROBOTS.inner, step_size=0.15),
    trust_region=replace(ROBOTS.trust_region, max_kl=0.05),
    inner_advantages=replace(_INNER, baseline="cross-fitted"),
    outer_advantages=replace(_OUTER, baseline="cross-fitted"),
)

OF_VELOCITIES: Options = {
    # In units of the reward: a step is short where there is little to gain, and so a goal near the
    # velocity that there is already is not overshot.
    "inner.step_size": 0.2,
    "inner.later_step_share": 0.5,  # still gain (seeds 100 and 101)
    "inner_advantages.normalize": False,
    "outer_advantages.normalize": False,
    # Values fitted on a task's other episodes do not explain away what its actions did.
    "inner_advantages.baseline": "cross-fitted",
    "outer_advantages.baseline": "cross-fitted",
}
"""The settings of goal velocities, whatever the robot."""

HALF_CHEETAH_VEL = ROBOTS.changed(
    OF_VELOCITIES
    | {
        "preset": "half-cheetah-vel",
        "env": EnvConfig("rlmaml/HalfCheetahVel-v0", {"frame_skip": 1, "balanced": True}),
        "iterations": 100,
        "tasks": 40,
    }
)

NAVIGATION = TrainConfig(
    preset="navigation",
    env=EnvConfig("rlmaml/Navigation2D-v0"),
    iterations=90,
    horizon=100,
    # Noise of the size of a step, .1, and actions that begin near zero: with more, a
    # policy only diffuses, and α is small because the gradient grows as 1/σ.
    policy=PolicyConfig(
        hidden=(64, 64),
        activation="tanh",
        output_gain=0.1,
        init_log_std=-2.0,
        min_log_std=-3.0,
    ),
    inner=InnerConfig(steps=3, step_size=0.01),
    trust_region=TrustRegion(max_kl=0.015, fisher_fraction=0.1),
    inner_advantages=_INNER,
    outer_advantages=_OUTER,
)

# Outer advantages are in units of the reward: adapted policies become sure, and what is left to
# gain would be noise if it were scaled to 1. (With the log-likelihood surrogate long runs get worse
# again.)
BANDIT = TrainConfig(
    preset="bandit",
    env=EnvConfig("rlmaml/BernoulliBandit-v0"),
    iterations=100,
    tasks=100,
    horizon=1,
    policy=PolicyConfig(hidden=(64, 64), activation="tanh", output_gain=0.1),
    inner=InnerConfig(step_size=0.5),
    trust_region=TrustRegion(max_kl=0.005),
    outer_advantages=AdvantageConfig(normalize=False),
    chunk_size=None,
    threads=1,  # its matrices are too small for two
)

PRESETS: dict[str, Preset] = {
    "half-cheetah-dir": Preset("HalfCheetah, run forward or backward, dt 0.01 s", HALF_CHEETAH_DIR),
    "half-cheetah-dir-v5": Preset(
        "HalfCheetah, run forward or backward, gymnasium's time step, dt 0.05 s",
        HALF_CHEETAH_DIR_V5,
    ),
    "half-cheetah-vel": Preset(
        "HalfCheetah, run at a goal velocity of 0 to 2 m/s, dt 0.01 s",
        HALF_CHEETAH_VEL,
    ),
    "ant-dir": Preset("Ant, walk forward or backward, dt 0.02 s", ANT_DIR),
    "ant-vel": Preset(
        "Ant, walk at a goal velocity of 0 to 3 m/s, dt 0.02 s",
        ANT_DIR.changed(
            OF_VELOCITIES
            | {
                "preset": "ant-vel",
                "env": EnvConfig("rlmaml/AntVel-v0", {"balanced": True, "frame_skip": 2}),
            }
        ),
    ),
    "navigation": Preset(
        "A point that walks to a goal it cannot see, in the plane",
        NAVIGATION,
    ),
    "bandit": Preset(
        "Bandits: 5 arms that pay with unknown probabilities, a pull an episode",
        BANDIT,
    ),
    "tabular": Preset(
        "Random finite MDPs of 10 states and 5 actions",
        replace(
            BANDIT,
            preset="tabular",
            env=EnvConfig("rlmaml/TabularMDP-v0"),
            iterations=120,
            tasks=40,
            horizon=10,
            inner=InnerConfig(step_size=2.0),
            trust_region=TrustRegion(max_kl=0.01),
            inner_advantages=AdvantageConfig(discount=0.7),
        ),
    ),
    "sinusoid-episodes": Preset(
        "Sinusoids of unknown amplitude and phase as episodes of one step, by rewards",
        TrainConfig(
            preset="sinusoid-episodes",
            env=EnvConfig("rlmaml/Sinusoid-v0"),
            iterations=300,
            tasks=25,
            episodes=40,
            horizon=1,
            policy=PolicyConfig(hidden=(40, 40)),
            inner=InnerConfig(step_size=0.1),
            trust_region=TrustRegion(max_kl=0.02),
        ),
    ),
}
