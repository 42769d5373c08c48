"""Presets of the families of other papers, in their worlds and with our settings of the learner."""

from __future__ import annotations

from dataclasses import replace

from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import EnvConfig, Options
from runners.presets.base import Preset
from runners.presets.control import HALF_CHEETAH_DIR_V5, NAVIGATION, OF_VELOCITIES

PROMP_HALF_CHEETAH_DIR = replace(
    HALF_CHEETAH_DIR_V5,
    preset="promp-half-cheetah-dir",
    env=EnvConfig("rlmaml/ProMPHalfCheetahDir-v0", {"balanced": True}),
    iterations=200,
    policy=replace(HALF_CHEETAH_DIR_V5.policy, hidden=(64, 64)),  # ProMP's network
)

# For all others: episodes of 200 steps, half as many, and values fitted on a task's other episodes,
# since ten are few to be fitted on themselves. Other lengths of a step were not tried for all.
_LEARNER = replace(
    PROMP_HALF_CHEETAH_DIR,
    horizon=200,
    episodes=10,
    inner=replace(PROMP_HALF_CHEETAH_DIR.inner, step_size=0.5),
    inner_advantages=AdvantageConfig(discount=0.9, gae_lambda=0.9, baseline="cross-fitted"),
    outer_advantages=AdvantageConfig(discount=0.99, gae_lambda=0.95, baseline="cross-fitted"),
)
_OF_VELOCITIES: Options = OF_VELOCITIES | {"env.kwargs": {"balanced": True}}
_OF_50_MS: Options = {  # the same horizons in seconds, a step being as long
    "inner_advantages.discount": 0.7,
    "outer_advantages.discount": 0.97,
    "outer_advantages.gae_lambda": 0.9,
}

_OF_WORLDS: Options = {
    # A world's masses hardly change what a good policy does, so that what is learned is one policy
    # for all of them first: many small updates, of the return before adaptation too, and a step
    # that does not throw it away (docs/results/families.md).
    "tasks": 10,
    "inner.step_size": 0.1,
    "inner.before_weight": 1.0,
}

_OF_ANTS: Options = {
    # Twice as far as with .5 after 0.7 million env steps, and as far after 3.2 million.
    "inner.step_size": 1.5,
    # With ten episodes and an action held for .05 s instead of .02 s nothing had been learned after
    # 2.3 million steps; which of the two it was is not known.
    "episodes": 20,
    "env.kwargs": {"balanced": True, "frame_skip": 2},
}

# Noise that crosses a good part of the circle in an episode: what is not found pays nothing.
SPARSE_POINT = replace(
    NAVIGATION,
    preset="sparse-point",
    env=EnvConfig("rlmaml/SparseNavigation2D-v0"),
    iterations=300,
    horizon=20,
    policy=replace(NAVIGATION.policy, init_log_std=-1.5, min_log_std=-2.0),
    inner=InnerConfig(step_size=0.03),
)


def _preset(
    name: str, id: str, description: str, iterations: int, options: Options | None = None
) -> Preset:
    """A preset that differs from `_LEARNER` in some options."""
    base = replace(_LEARNER, preset=name, env=EnvConfig(f"rlmaml/{id}-v0"), iterations=iterations)
    return Preset(description, base.changed(options or {}))


PRESETS: dict[str, Preset] = {
    "promp-half-cheetah-dir": Preset(
        "HalfCheetah, run forward or backward, as in Rothfuss et al. 2019, dt 0.05 s",
        PROMP_HALF_CHEETAH_DIR,
    ),
} | {
    preset.config.preset: preset
    for preset in (
        Preset(
            "A point that looks for a goal on half a circle, and is paid near it alone",
            SPARSE_POINT,
        ),
        _preset(
            "promp-half-cheetah-vel",
            "ProMPHalfCheetahVel",
            "HalfCheetah, run at a goal velocity of 0 to 3 m/s, as in Rothfuss et al. 2019",
            100,
            _OF_VELOCITIES | _OF_50_MS,
        ),
        _preset(
            "half-cheetah-params",
            "HalfCheetahParams",
            "HalfCheetah of unknown masses, friction and damping, run forward, dt 0.05 s",
            200,
            _OF_50_MS | _OF_WORLDS,
        ),
        _preset(
            "hopper-params",
            "HopperParams",
            "Hopper of unknown masses, friction and damping, hop forward, dt 0.008 s",
            50,
        ),
        _preset(
            "walker-params",
            "Walker2dParams",
            "Walker2d of unknown masses, friction and damping, walk forward, dt 0.008 s",
            120,
            _OF_WORLDS,
        ),
        _preset(
            "promp-walker-params",
            "RandParamsWalker2d",
            "Walker2d of unknown masses, friction and damping, as in rand_param_envs, dt 0.016 s",
            100,
        ),
        _preset(
            "walker-vel",
            "Walker2dVel",
            "Walker2d, walk at a goal velocity of 0 to 2 m/s, dt 0.008 s",
            100,
            # Or it falls at once before it adapts, and learns from that (docs/results/families.md).
            _OF_VELOCITIES | {"inner.before_weight": 1.0},
        ),
        _preset(
            "walker-dir",
            "Walker2dDir",
            "Walker2d, walk forward or backward, dt 0.008 s",
            60,
        ),
        _preset(
            "ant-dir-2d",
            "AntDir2D",
            "Ant, walk in a direction of the plane, dt 0.02 s",
            60,
            _OF_ANTS,
        ),
        _preset(
            "ant-goal",
            "AntGoal",
            "Ant, walk to a place that it cannot see, up to 3 m away, dt 0.02 s",
            60,
            _OF_ANTS,
        ),
        _preset(
            "promp-ant-goal",
            "ProMPAntGoal",
            "Ant, walk to a place that it cannot see, as in Rothfuss et al. 2019, dt 0.05 s",
            60,
            # Less noise, since it is held so long, and a step that is as long for it.
            {"policy.init_log_std": -0.7, "env.kwargs": {"balanced": True}},
        ),
        _preset(
            "humanoid-dir",
            "HumanoidDir",
            "Humanoid, walk forward or backward, dt 0.015 s",
            100,
            # Less noise: it stands longer. The step's size lies between two that were tried.
            {
                "env.rescale_actions": True,
                "policy.init_log_std": -1.0,
                "inner.step_size": 0.2,
                "env.kwargs": {"balanced": True},
            },
        ),
        _preset(
            "swimmer-vel",
            "SwimmerVel",
            "Swimmer, swim at a goal velocity of 0.1 to 0.2 m/s, dt 0.04 s",
            50,
            # A stroke takes a second. Observations as they are: with standardized ones, and values
            # fitted on a task's own episodes, it first got worse.
            {
                "inner_advantages.discount": 0.95,
                "normalize_observations": False,
                "env.kwargs": {"balanced": True},
            },
        ),
    )
}
