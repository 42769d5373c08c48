"""Worlds: the same robot with other masses, friction and damping."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...core.arguments import check_bool
from ...core.ranges import Ranges
from ...core.tasks import Split
from ..goal import Goal
from ..robots.base import Motion
from .base import Floats, LocomotionTasks


class Quantity(NamedTuple):
    """A kind of number of a model that tasks multiply."""

    fields: tuple[str, ...]  # of MjModel, [n, ...] each, with one factor for a row of them all
    base: float  # a factor is the base to the power of a uniform number
    has_effect: Callable[[mujoco.MjModel], NDArray[np.bool_]]  # which rows matter, [n]


def _has_mass(model: mujoco.MjModel) -> NDArray[np.bool_]:
    return model.body_mass > 0.0


def _has_inertia(model: mujoco.MjModel) -> NDArray[np.bool_]:
    return np.ravel(model.body_inertia > 0.0)


def _collides(model: mujoco.MjModel) -> NDArray[np.bool_]:
    return (model.geom_contype != 0) | (model.geom_conaffinity != 0)


def _collides_by_axis(model: mujoco.MjModel) -> NDArray[np.bool_]:
    return np.repeat(_collides(model), 3)


def _is_damped(model: mujoco.MjModel) -> NDArray[np.bool_]:
    return model.dof_damping > 0.0


# Functions with names, for a family is pickled with them.
QUANTITIES: Mapping[str, Quantity] = {
    "mass": Quantity(("body_mass", "body_inertia"), 1.5, _has_mass),
    "friction": Quantity(("geom_friction",), 1.5, _collides),
    "damping": Quantity(("dof_damping",), 1.3, _is_damped),
}
"""What can vary. A body of another mass is one of another density, so its inertia goes along."""
ELEMENTS: Mapping[str, Quantity] = {
    "mass": Quantity(("body_mass",), 1.5, _has_mass),
    "inertia": Quantity(("body_inertia",), 1.5, _has_inertia),
    "friction": Quantity(("geom_friction",), 1.5, _collides_by_axis),
    "damping": QUANTITIES["damping"],
}
"""The same number by number: an inertia that no body of that mass has, a friction for each axis."""


class Dynamics(LocomotionTasks):
    """Run forward in a world of its own: pays w v.

    A task is a vector of factors, one for each mass, friction and damping of the model that is not
    0, in the model's order. A factor of 1 is gymnasium's own, which is the task of an environment
    that was given none. A factor is base^u with u uniform on ± `log_scale_limit`, and base 1.5
    (damping 1.3), as in rand_param_envs (`base.py`, of dennisl88), which papers on
    walker-rand-params import. Factors rather than a seed that draws them: an oracle can be shown
    them, and one world changed by hand.

    Args:
        vary: which quantities: "mass", "friction", "damping"; number by number also "inertia".
        log_scale_limit: factors to train on, and to validate, are between base^-limit and
            base^limit.
        test_log_scale_limit: the same for split="test"; None is `log_scale_limit`.
        balanced: draw one of n factors from each n-th part of the range, each factor by itself.
        forward_reward_weight: w.
        number_by_number: draw a factor for each number of the model: the inertia of a body about
            each axis by itself and apart from its mass, and each of a friction's three. So does
            rand_param_envs.
        derive: compute anew what MuJoCo derives from masses (`mj_setConst`), which contacts are
            made by. rand_param_envs leaves it as it was.

    Raises:
        TypeError: `balanced`, `number_by_number` or `derive` is not True or False.
        ValueError: `vary` names no quantities, or a limit is not above 0 and at most 20.
    """

    def __init__(
        self,
        vary: Sequence[str] | None = None,
        log_scale_limit: float = 3.0,
        test_log_scale_limit: float | None = None,
        *,
        balanced: bool = False,
        forward_reward_weight: float = 1.0,
        number_by_number: bool = False,
        derive: bool = True,
    ) -> None:
        known = ELEMENTS if check_bool("number_by_number", number_by_number) else QUANTITIES
        chosen = _some_of(known, vary)
        train = _limit("log_scale_limit", log_scale_limit)
        test = _limit(
            "test_log_scale_limit",
            log_scale_limit if test_log_scale_limit is None else test_log_scale_limit,
        )
        self._exponents = Ranges("log_scale_limit", (-train, train), (-test, test))
        self._balanced = check_bool("balanced", balanced)
        self._weight = forward_reward_weight
        self._quantities = {name: known[name] for name in known if name in chosen}
        self._derive = check_bool("derive", derive)
        self._nominal: Mapping[str, Floats] = {}
        self._set_up({name: np.ones(1, dtype=np.bool_) for name in self._quantities})

    def _set_up(self, matters: Mapping[str, NDArray[np.bool_]]) -> None:
        """Know which rows of each quantity have a factor."""
        self._matters = matters
        counts = [int(rows.sum()) for rows in matters.values()]
        self._ends = np.cumsum(counts)[:-1]
        self._bases = np.repeat([q.base for q in self._quantities.values()], counts)
        low, high = self._exponents.low, self._exponents.high
        self.space = spaces.Box(self._bases**low, self._bases**high, dtype=np.float64)
        self.default = np.ones(len(self._bases))

    def of(self, model: mujoco.MjModel) -> Dynamics:
        """The family for this model: only now it is known how many factors there are."""
        family = copy.copy(self)
        family._set_up({name: q.has_effect(model) for name, q in family._quantities.items()})
        family._nominal = {
            name: getattr(model, name).copy()
            for quantity in family._quantities.values()
            for name in quantity.fields
        }
        return family

    @property
    def derive(self) -> bool:
        return self._derive

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        drawn = [
            self._exponents.sample(n, rng, split, balanced=self._balanced) for _ in self._bases
        ]
        return self._bases ** np.stack(drawn, axis=1)

    def reward(self, tasks: np.ndarray, result: Motion) -> Floats:
        return self._weight * result.velocity[:, 0]

    def fields(self, tasks: np.ndarray) -> Mapping[str, Floats]:
        made = {}
        for (name, quantity), factors in zip(
            self._quantities.items(), np.split(tasks, self._ends, axis=1), strict=True
        ):
            rows = self._matters[name]
            every = np.ones((len(tasks), len(rows)))
            every[:, rows] = factors
            for field in quantity.fields:
                nominal = self._nominal[field]
                # One factor for a row, or, where there are as many as numbers, for a number.
                by_row = len(rows) == len(nominal)
                shape = (len(nominal), *(1,) * (nominal.ndim - 1)) if by_row else nominal.shape
                made[field] = nominal * every.reshape(-1, *shape)
        return made

    def goal(self, task: np.ndarray) -> Goal:
        return Goal(direction=np.array([1.0, 0.0]))

    def describe(self, task: np.ndarray) -> str:
        """The range of each quantity's factors: "mass x0.4-2.9, friction x0.5-2.1"."""
        parts = zip(self._quantities, np.split(np.asarray(task), self._ends), strict=True)
        return ", ".join(f"{name} x{x.min():.2g}-{x.max():.2g}" for name, x in parts)


def _some_of(known: Mapping[str, Quantity], vary: Sequence[str] | None) -> tuple[str, ...]:
    if vary is None:
        return tuple(known)
    names = list(vary) if isinstance(vary, Sequence) and not isinstance(vary, str) else []
    if not names or any(name not in list(known) for name in names):
        raise ValueError(f"vary is {vary!r}; choose some of {', '.join(known)}, as a list")
    return tuple(names)


def _limit(name: str, given: float) -> float:
    if not (np.isfinite(given) and 0.0 < given <= 20.0):
        raise ValueError(f"{name} is {given}; it is above 0, and at most 20")
    return float(given)
