"""The table of environments: id -> robot, task family, defaults and time limit.

An environment is put together from parts: a robot and a task family, or a task family alone. The
keyword arguments of `gymnasium.make` and `gymnasium.make_vec` are split among them by name, so a
parameter is documented once, beside the field or argument that takes it. Parts are named by where
they are, and imported when the first environment is made. docs/environments.md sets the defaults
against the MAML paper's and gymnasium's.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium

Factory = Callable[..., Any]
"""A class or a function."""


@dataclass(frozen=True)
class Part:
    """A part of an environment: a robot, a task family, or settings for drawing."""

    made_by: str | Factory
    """The class or function; `"module:name"` names one inside this package."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """Arguments where these environments differ from the factory's own defaults."""
    settable: Sequence[str] | None = None
    """Parameters that `gymnasium.make` takes; None is all that the factory has."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Parameters without a default, and what they are."""

    def factory(self) -> Factory:
        """The class or function, imported."""
        if not isinstance(self.made_by, str):
            return self.made_by
        module, name = self.made_by.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), name)

    def names(self) -> Sequence[str]:
        """Parameters that `gymnasium.make` takes for it."""
        return _parameters(self.factory()) if self.settable is None else self.settable


@dataclass(frozen=True)
class Environment:
    """A row of the table."""

    id: str
    """The id that `gymnasium.make` is asked for."""
    single: str | Factory
    """Class of the single environment. It takes the parts and more parameters."""
    parts: Sequence[Part]
    max_episode_steps: int
    batched: str | Factory | None = None
    """Class of the vector environment, which takes `parts` too; None if there is none."""
    drawing: Sequence[Part] = ()
    """Further parts that only the single environment takes."""


ROBOTS = "locomotion.vector_env:LocomotionVectorEnv"
"""The vector environment of robots, which lets the simulator be chosen."""


def locomotion(
    id: str,
    robot: str | Factory,
    tasks: str | Factory,
    *,
    robot_defaults: Mapping[str, object] | None = None,
    task_defaults: Mapping[str, object] | None = None,
    fixed: bool = False,
    max_episode_steps: int = 200,
) -> Environment:
    """A row for a robot with a task family.

    Args:
        id: what `gymnasium.make` is asked for.
        robot: a class of robots, or `"module:name"`.
        tasks: a class of `LocomotionTasks`, or `"module:name"`.
        robot_defaults: arguments other than the robot's own defaults.
        task_defaults: the same for the task family.
        fixed: nothing can be set but how tasks are balanced.
        max_episode_steps: the time limit.
    """
    return Environment(
        id,
        "locomotion.env:LocomotionEnv",
        (
            Part(robot, robot_defaults or {}, () if fixed else None),
            Part(tasks, task_defaults or {}, ("balanced",) if fixed else None),
        ),
        max_episode_steps,
        ROBOTS,
        (Part("locomotion.rendering:Rendering"),),
    )


def tabular(id: str, tasks: str | Factory, max_episode_steps: int) -> Environment:
    """A row for a family of tables."""
    return Environment(
        id,
        "tabular:TabularEnv",
        (Part(tasks),),
        max_episode_steps,
        "tabular:TabularVectorEnv",
    )


def examples(id: str, tasks: str | Factory, needs: Mapping[str, str] | None = None) -> Environment:
    """A row for a family of labeled examples.

    There is no vector environment: an episode is one draw, and whoever wants many asks for
    `examples`.
    """
    return Environment(id, "few_shot.base:ExampleEnv", (Part(tasks, needs=needs or {}),), 1)


def _robot(name: str) -> str:
    """The class of a robot: half_cheetah's is HalfCheetah."""
    return f"locomotion.robots.{name}:{''.join(part.capitalize() for part in name.split('_'))}"


_CHEETAH, _ANT, _HOPPER, _WALKER, _HUMANOID, _SWIMMER = map(
    _robot, ("half_cheetah", "ant", "hopper", "walker2d", "humanoid", "swimmer")
)
_PAPER_CHEETAH = "locomotion.laws.maml_paper:PaperHalfCheetah"
_PAPER_ANT = "locomotion.laws.maml_paper:PaperAnt"
_VELOCITY, _DIRECTION, _PLANE, _POSITION, _DYNAMICS = (
    f"locomotion.tasks:{name}"
    for name in ("GoalVelocity", "Direction", "PlaneDirection", "GoalPosition", "Dynamics")
)
_UP_TO_2, _UP_TO_3 = {"goal_range": (0.0, 2.0)}, {"goal_range": (0.0, 3.0)}
_SLOWLY = {"goal_range": (0.1, 0.2)}
_COINS = {"balanced": False}
_ALIVE = {"survival_bonus": 1.05}
# gymnasium's own weight of a humanoid's velocity.
_HUMANOID_WEIGHT = {"forward_reward_weight": 1.25}
# An ant that is to come to a place sees where it is; and every step costs, so no fall may end it.
_PLACED = {
    "survival_bonus": 0.0,
    "exclude_current_positions_from_observation": False,
    "terminate_when_unhealthy": False,
}

# The laws of papers, each by its source's name.
_PROMP, _PEARL = "locomotion.laws.promp:", "locomotion.laws.pearl:"
_RAND_PARAMS = {"number_by_number": True, "derive": False}


def _law(
    id: str,
    robot: str,
    tasks: str,
    robot_defaults: Mapping[str, object] | None = None,
    task_defaults: Mapping[str, object] | None = None,
    max_episode_steps: int = 200,
) -> Environment:
    """A row of which nothing can be set but how tasks are balanced."""
    return locomotion(
        f"rlmaml/{id}-v0",
        robot,
        tasks,
        robot_defaults=robot_defaults,
        task_defaults=task_defaults,
        fixed=True,
        max_episode_steps=max_episode_steps,
    )


LAWS = (
    _law("ProMPHalfCheetahVel", _CHEETAH, _VELOCITY, None, _UP_TO_3),
    _law("ProMPHalfCheetahDir", _CHEETAH, _DIRECTION, None, _COINS, 100),
    _law("ProMPAntDir", f"{_PROMP}ProMPAnt", _DIRECTION, None, _COINS),
    _law("ProMPAntDir2D", f"{_PROMP}ProMPAnt", _PLANE),
    _law("ProMPAntGoal", f"{_PROMP}ProMPAnt", _POSITION, {**_PLACED, "ctrl_cost_weight": 0.1}),
    _law(
        "ProMPWalker2dVel",
        f"{_PROMP}ProMPWalker2d",
        _VELOCITY,
        {"survival_bonus": 15.0},
        {"goal_range": (0.0, 10.0)},
    ),
    _law("ProMPWalker2dDir", f"{_PROMP}ProMPWalker2d", _DIRECTION, None, _COINS),
    _law(
        "ProMPHumanoidDir",
        f"{_PROMP}ProMPHumanoid",
        _DIRECTION,
        None,
        {**_HUMANOID_WEIGHT, **_COINS},
    ),
    _law("ProMPHumanoidDir2D", f"{_PROMP}ProMPHumanoid", _PLANE, None, _HUMANOID_WEIGHT),
    _law("ProMPSwimmerVel", _SWIMMER, _VELOCITY, None, _SLOWLY),
    _law("PEARLHalfCheetahVel", f"{_PEARL}PEARLHalfCheetah", _VELOCITY, None, _UP_TO_3),
    _law("PEARLHalfCheetahDir", f"{_PEARL}PEARLHalfCheetah", _DIRECTION, None, _COINS),
    _law("PEARLAntDir", f"{_PEARL}PEARLAnt", _PLANE),
    _law("RandParamsHopper", f"{_PEARL}RandParamsHopper", _DYNAMICS, None, _RAND_PARAMS),
    _law(
        "RandParamsWalker2d",
        f"{_PEARL}RandParamsWalker2d",
        _DYNAMICS,
        None,
        _RAND_PARAMS,
    ),
)

ENVIRONMENTS = (
    locomotion("rlmaml/HalfCheetahVel-v0", _CHEETAH, _VELOCITY, task_defaults=_UP_TO_2),
    locomotion("rlmaml/HalfCheetahDir-v0", _CHEETAH, _DIRECTION),
    locomotion("rlmaml/HalfCheetahParams-v0", _CHEETAH, _DYNAMICS),
    locomotion("rlmaml/AntVel-v0", _ANT, _VELOCITY, robot_defaults=_ALIVE, task_defaults=_UP_TO_3),
    locomotion("rlmaml/AntDir-v0", _ANT, _DIRECTION),
    locomotion("rlmaml/AntDir2D-v0", _ANT, _PLANE),
    locomotion("rlmaml/AntGoal-v0", _ANT, _POSITION, robot_defaults=_PLACED),
    locomotion("rlmaml/AntParams-v0", _ANT, _DYNAMICS),
    locomotion("rlmaml/HopperVel-v0", _HOPPER, _VELOCITY, task_defaults=_UP_TO_2),
    locomotion("rlmaml/HopperDir-v0", _HOPPER, _DIRECTION),
    locomotion("rlmaml/HopperParams-v0", _HOPPER, _DYNAMICS),
    locomotion("rlmaml/Walker2dVel-v0", _WALKER, _VELOCITY, task_defaults=_UP_TO_2),
    locomotion("rlmaml/Walker2dDir-v0", _WALKER, _DIRECTION),
    locomotion("rlmaml/Walker2dParams-v0", _WALKER, _DYNAMICS),
    locomotion("rlmaml/HumanoidVel-v0", _HUMANOID, _VELOCITY, task_defaults=_UP_TO_2),
    locomotion("rlmaml/HumanoidDir-v0", _HUMANOID, _DIRECTION, task_defaults=_HUMANOID_WEIGHT),
    locomotion("rlmaml/HumanoidDir2D-v0", _HUMANOID, _PLANE, task_defaults=_HUMANOID_WEIGHT),
    locomotion("rlmaml/SwimmerVel-v0", _SWIMMER, _VELOCITY, task_defaults=_SLOWLY),
    locomotion("rlmaml/SwimmerDir-v0", _SWIMMER, _DIRECTION),
    _law("PaperHalfCheetahVel", _PAPER_CHEETAH, _VELOCITY, None, _UP_TO_2),
    _law("PaperHalfCheetahDir", _PAPER_CHEETAH, _DIRECTION, None, _COINS),
    _law("PaperAntVel", _PAPER_ANT, _VELOCITY, _ALIVE, _UP_TO_3),
    _law("PaperAntDir", _PAPER_ANT, _DIRECTION, None, _COINS),
    *LAWS,
    Environment(
        "rlmaml/Navigation2D-v0",
        "navigation.env:NavigationEnv",
        (Part("navigation.tasks:GoalPoint"),),
        100,
        "navigation.env:NavigationVectorEnv",
    ),
    Environment(
        "rlmaml/SparseNavigation2D-v0",
        "navigation.env:NavigationEnv",
        (Part("navigation.tasks:GoalAngle"),),
        20,
        "navigation.env:NavigationVectorEnv",
    ),
    tabular("rlmaml/TabularMDP-v0", "tabular:RandomMDPs", 10),
    tabular("rlmaml/BernoulliBandit-v0", "tabular:BernoulliBandits", 1),
    tabular("rlmaml/GaussianBandit-v0", "tabular:GaussianBandits", 1),
    examples("rlmaml/Sinusoid-v0", "few_shot.sinusoid:SinusoidTasks"),
    examples("rlmaml/SinusoidFrequency-v0", "few_shot.sinusoid:FrequencySinusoidTasks"),
    examples("rlmaml/LinearClassification-v0", "few_shot.half_planes:LinearClassificationTasks"),
    examples("rlmaml/Digits-v0", "few_shot.images:digits"),
    examples("rlmaml/Glyphs-v0", "few_shot.glyphs:glyphs"),
    examples(
        "rlmaml/ImageFolder-v0",
        "few_shot.image_folder:image_folder",
        needs={"root": "the folder that your images are in"},
    ),
    examples("rlmaml/Docstrings-v0", "few_shot.docstrings:docstrings"),
    examples(
        "rlmaml/Text-v0",
        "few_shot.text_files:text_files",
        needs={"root": "the folder or file that your texts are in"},
    ),
)


def register(environment: Environment) -> None:
    """Register one with gymnasium, unless its id is taken already."""
    if environment.id in gymnasium.registry:
        return
    # Callables, not strings: "envs.…" would be looked up among the user's own folders.
    batched = None if environment.batched is None else partial(make_batched, environment)
    gymnasium.register(
        environment.id,
        entry_point=partial(make_single, environment),
        vector_entry_point=batched,
        max_episode_steps=environment.max_episode_steps,
    )


def find(id: str) -> Environment:
    """The row of an id.

    Raises:
        ValueError: an unknown id.
    """
    for environment in ENVIRONMENTS:
        if environment.id == id:
            return environment
    ids = ", ".join(environment.id for environment in ENVIRONMENTS)
    raise ValueError(f"there is no environment {id!r}; there are {ids}")


def make_single(environment: Environment, **parameters: object) -> gymnasium.Env[Any, Any]:
    """The single environment.

    Args:
        environment: a row of the table.
        parameters: of its parts and of itself, by name.

    Raises:
        TypeError: an unknown parameter.
        ValueError: a parameter without a default is missing, or a wrong value.
    """
    parts = (*environment.parts, *environment.drawing)
    return _assemble(environment.id, environment.single, parts, parameters)


def make_batched(environment: Environment, **parameters: object) -> gymnasium.vector.VectorEnv:
    """The vector environment. Arguments and errors as of `make_single`."""
    if environment.batched is None:
        raise ValueError(f"{environment.id} has no vector environment of its own")
    return _assemble(environment.id, environment.batched, environment.parts, parameters)


def _assemble(
    id: str, made_by: str | Factory, parts: Sequence[Part], parameters: Mapping[str, object]
) -> Any:
    factory = Part(made_by).factory()
    own = _parameters(factory)[len(parts) :]
    known = [*(name for part in parts for name in part.names()), *own]
    unknown = [name for name in parameters if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TypeError(f"{id} has no parameter {unknown[0]!r}{hint}; it has {', '.join(known)}")
    made = []
    for part in parts:
        given = {name: parameters[name] for name in part.names() if name in parameters}
        for name, meaning in part.needs.items():
            if name not in given:
                raise ValueError(f"{id} needs {meaning}: pass {name}='...'")
        made.append(part.factory()(**{**part.defaults, **given}))
    return factory(*made, **{name: parameters[name] for name in own if name in parameters})


def _parameters(factory: Factory) -> list[str]:
    return list(inspect.signature(factory).parameters)
