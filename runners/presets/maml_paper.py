"""The MAML paper's reinforcement learning: its settings as presets, and its results.

Settings are those of the authors' code, results those of their result files (40 tasks, mean
return after 0, 1, 2 ... inner steps), both for Finn, Abbeel and Levine 2017, section 5.3.
docs/results/paper.md has what remains different, and our figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.outer.trust_region import TrustRegion
from runners.presets.base import Preset

_AUTHORS = TrainConfig(
    tasks=40,
    inner=InnerConfig(step_size=0.1, surrogate="log-likelihood"),
    trust_region=TrustRegion(max_kl=0.01),
    inner_advantages=AdvantageConfig(),
    outer_advantages=AdvantageConfig(),
)

POINT = replace(
    _AUTHORS,
    preset="paper-point",
    env=EnvConfig("rlmaml/Navigation2D-v0", {"scaled_actions": True}),
    iterations=100,
    tasks=20,
    horizon=100,
    inner=replace(_AUTHORS.inner, step_size=0.5),
    batch_by="steps",
)
HALF_CHEETAH_VEL = replace(
    _AUTHORS,
    preset="paper-half-cheetah-vel",
    env=EnvConfig("rlmaml/PaperHalfCheetahVel-v0"),
    iterations=475,
    episodes=10,
)
HALF_CHEETAH_DIR = replace(
    _AUTHORS,
    preset="paper-half-cheetah-dir",
    env=EnvConfig("rlmaml/PaperHalfCheetahDir-v0"),
    iterations=100,
    trust_region=replace(_AUTHORS.trust_region, max_kl=0.02),
)
ANT_VEL = replace(
    _AUTHORS,
    preset="paper-ant-vel",
    env=EnvConfig("rlmaml/PaperAntVel-v0"),
    iterations=375,
    batch_by="steps",
)
ANT_DIR = replace(
    ANT_VEL,
    preset="paper-ant-dir",
    env=EnvConfig("rlmaml/PaperAntDir-v0"),
    iterations=575,
    episodes=40,
)


_SHORT = AdvantageConfig(discount=0.9, gae_lambda=0.9)
_OURS: dict[str, Any] = {
    "policy.activation": "tanh",
    "inner_advantages": _SHORT,
    "trust_region.fisher_fraction": 0.1,  # in half of the time
}
"""Our departures from the authors; docs/results/paper.md says what each is worth."""
_GRADED = {
    # In units of the reward: a step is short where there is little to gain, and so a goal near the
    # velocity that there is already is not overshot.
    "inner.step_size": 0.2,
    "inner_advantages": replace(_SHORT, baseline="cross-fitted", normalize=False),
    # In those units too. Scaled, tasks whose goal is met ask for as much as the others, for less
    # noise and smaller actions, and of some seeds make policies that hardly move.
    "outer_advantages": AdvantageConfig(gae_lambda=0.95, baseline="cross-fitted", normalize=False),
    "policy.output_gain": 0.1,  # none begins by running backward
    "inner.surrogate": "lvc",
    "normalize_observations": True,
    "env.kwargs": {"balanced": True},
}
"""And with goal velocities."""
_OF_ANTS: dict[str, Any] = {
    # With .1 an inner step is too short to turn an ant, and an outer one has nothing to go by.
    "inner.step_size": 0.5,
    "inner.surrogate": "lvc",
    "outer_advantages": AdvantageConfig(gae_lambda=0.95),
    "trust_region.max_kl": 0.02,
    "policy.output_gain": 0.1,  # twice as long on its legs at first
    "normalize_observations": True,
    "env.kwargs": {"balanced": True},
}
"""And with directions of ants."""
_FEWER: dict[str, Any] = {"tasks": 20, "episodes": 20}
"""Half as many tasks or less, to come further in the time that there is."""
OURS = "-ours"
"""Ends the names of presets with our settings of the learner, in their environments and budgets."""


def _ours(config: TrainConfig, **more: object) -> TrainConfig:
    return config.changed({"preset": config.preset + OURS, **_OURS, **more})


PRESETS: dict[str, Preset] = {
    config.preset: Preset(description + how, config)
    for description, *both in (
        ("Navigation, as in the MAML paper", POINT),  # where theirs need no change
        (
            "HalfCheetah, run at a goal velocity, as in the MAML paper",
            HALF_CHEETAH_VEL,
            # The paper's environment steps in half as many updates, of less noise.
            _ours(HALF_CHEETAH_VEL, episodes=20, iterations=237, **_GRADED),
        ),
        (
            "HalfCheetah, run forward or backward, as in the MAML paper",
            HALF_CHEETAH_DIR,
            _ours(HALF_CHEETAH_DIR),
        ),
        (
            "Ant, walk at a goal velocity, as in the MAML paper",
            ANT_VEL,
            _ours(ANT_VEL, **_FEWER, **_GRADED),
        ),
        (
            "Ant, walk forward or backward, as in the MAML paper",
            ANT_DIR,
            _ours(ANT_DIR, **_FEWER, **_OF_ANTS),
        ),
    )
    for how, config in zip(("", ", our settings"), both, strict=False)
}


@dataclass(frozen=True)
class Row:
    """A row of the paper's table: how its authors measured it, and what they found."""

    maml: tuple[float, ...]
    """Mean return over 40 tasks after 0, 1, 2 ... inner steps."""
    oracle: float
    pretrained: tuple[float, ...] | None
    """After 0 and 1 steps."""
    goals: tuple[int, float, float, int]
    """Their 40 tasks: the seed of NumPy's old generator, lower and upper end of its uniform draws,
    and how many numbers a task is."""
    sizes: dict[str, float]
    """The authors' for the first inner step, by what adapts. A preset of ours has its own."""
    middle: float | None = None
    """A direction's goal is backward where it is drawn below."""
    episodes: int = 20
    """Whole ones, a task and step."""
    later: float = 0.5
    """Size of the later steps, as a share of the first."""

    def tasks(self) -> np.ndarray:
        """Their 40 tasks, `[40, ...]` as the environments here take them."""
        seed, low, high, size = self.goals
        drawn = np.random.RandomState(seed).uniform(low, high, (40, size))
        return drawn if self.middle is None else (drawn[:, 0] < self.middle).astype(np.int64)


def _sizes(maml: float, pretrained: float, random: float) -> dict[str, float]:
    return {"maml": maml, "pretrained": pretrained, "random": random}


ROWS = {
    POINT.preset: Row(
        maml=(-40.41, -11.68, -3.33, -3.23, -3.35),
        oracle=-2.3,
        pretrained=None,
        goals=(1, -0.5, 0.5, 2),
        sizes=_sizes(0.5, 0.5, 0.5),
        episodes=40,
    ),
    HALF_CHEETAH_VEL.preset: Row(
        maml=(-129.53, -78.57, -66.62, -60.78),
        oracle=-54.5,
        pretrained=(-158, -134),
        goals=(1, 0.0, 2.0, 1),
        sizes=_sizes(0.1, 0.02, 0.1),
    ),
    HALF_CHEETAH_DIR.preset: Row(
        maml=(-50.69, 293.19, 313.48, 315.65),
        oracle=442.7,
        pretrained=(-43, 20),
        goals=(1, 0.0, 2.0, 1),
        middle=1.0,
        sizes=_sizes(0.1, 0.2, 0.5),
    ),
    ANT_VEL.preset: Row(
        maml=(30.58, 96.74, 100.06, 101.41),
        oracle=107.9,
        pretrained=(-1.8, 9.5),
        goals=(1, 0.0, 3.0, 1),
        sizes=_sizes(0.1, 0.2, 1.0),
    ),
    ANT_DIR.preset: Row(
        maml=(8.66, 499.15, 500.68, 499.11),
        oracle=524.8,
        pretrained=(3, 7),
        goals=(2, 0.0, 3.0, 1),
        middle=1.5,
        sizes=_sizes(0.1, 0.2, 1.0),
        episodes=40,
        later=0.01,
    ),
}
"""The paper's table, by preset."""
