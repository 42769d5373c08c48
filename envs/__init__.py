"""Worlds with tasks: gymnasium environments to meta-train on.

Importing this package registers them. gymnasium (since 1.0) has no plugins, but imports a module
by itself when asked for `gymnasium.make("envs:rlmaml/HalfCheetahDir-v0")`. What stands here is
light: MuJoCo and the environments are imported when the first one is made. The ids are
`rlmaml/HalfCheetahVel-v0`, `rlmaml/HalfCheetahDir-v0`, `rlmaml/AntVel-v0`, `rlmaml/AntDir-v0`,
the MAML paper's own `rlmaml/PaperHalfCheetahVel-v0`, `rlmaml/PaperHalfCheetahDir-v0`,
`rlmaml/PaperAntVel-v0` and `rlmaml/PaperAntDir-v0`, `rlmaml/Navigation2D-v0`,
`rlmaml/TabularMDP-v0`, `rlmaml/BernoulliBandit-v0` and `rlmaml/GaussianBandit-v0`, and with
labeled examples `rlmaml/Sinusoid-v0`, `rlmaml/SinusoidFrequency-v0`,
`rlmaml/LinearClassification-v0`, `rlmaml/Digits-v0`, `rlmaml/ImageFolder-v0`,
`rlmaml/Docstrings-v0` and `rlmaml/Text-v0`; docs/environments.md describes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["available_cpus", "register"]


def register() -> None:
    """Register the environments with gymnasium. Done on import; again is harmless."""
    import gymnasium

    if "rlmaml/Navigation2D-v0" in gymnasium.registry:
        return
    # Callables, not strings: "envs.…" would be looked up among the user's own folders.
    for name, family in {
        "HalfCheetahVel-v0": "half_cheetah_vel",
        "HalfCheetahDir-v0": "half_cheetah_dir",
        "AntVel-v0": "ant_vel",
        "AntDir-v0": "ant_dir",
        "PaperHalfCheetahVel-v0": "paper_half_cheetah_vel",
        "PaperHalfCheetahDir-v0": "paper_half_cheetah_dir",
        "PaperAntVel-v0": "paper_ant_vel",
        "PaperAntDir-v0": "paper_ant_dir",
    }.items():
        gymnasium.register(
            f"rlmaml/{name}",
            entry_point=partial(_robot, family),
            vector_entry_point=partial(_robots, family),
            max_episode_steps=200,
        )
    gymnasium.register(
        "rlmaml/Navigation2D-v0",
        entry_point=_point,
        vector_entry_point=_points,
        max_episode_steps=100,
    )
    for name, family, limit in (
        ("TabularMDP-v0", "tabular_mdp", 10),
        ("BernoulliBandit-v0", "bernoulli_bandit", 1),
        ("GaussianBandit-v0", "gaussian_bandit", 1),
    ):
        gymnasium.register(
            f"rlmaml/{name}",
            entry_point=partial(_table, family),
            vector_entry_point=partial(_tables, family),
            max_episode_steps=limit,
        )
    for name, family in {
        "Sinusoid-v0": _sinusoid,
        "SinusoidFrequency-v0": _sinusoid_frequency,
        "LinearClassification-v0": _linear_classification,
        "Digits-v0": _digits,
        "ImageFolder-v0": _image_folder,
        "Docstrings-v0": _docstrings,
        "Text-v0": _text,
    }.items():
        # No batched one: an episode is one draw, and whoever wants many asks for `examples`.
        gymnasium.register(
            f"rlmaml/{name}", entry_point=partial(_examples, family), max_episode_steps=1
        )


def available_cpus() -> int:
    """CPUs that this process may run on, which are fewer than the host has in a container."""
    from .locomotion import mujoco_utils

    return mujoco_utils.available_cpus()


_POINT = ("scaled_actions",)
_PICTURE = ("render_mode", "width", "height", "pretty")
_RENDERING = (*_PICTURE, "camera_id", "camera_name")
_RENDERING += ("default_camera_config", "max_geom", "visual_options")
_BATCH = ("num_envs", "max_episode_steps", "autoreset_mode", "num_threads")


def _robot(family: str, **parameters: Any) -> Any:
    from . import registry
    from .locomotion.env import single_locomotion

    rendering = _take(parameters, _RENDERING)
    return single_locomotion(*getattr(registry, family)(**parameters), **rendering)


def _robots(family: str, **parameters: Any) -> Any:
    from . import registry
    from .locomotion.vector_env import BatchedLocomotion

    batch = _take(parameters, _BATCH)
    return BatchedLocomotion(*getattr(registry, family)(**parameters), **batch)


def _point(**parameters: Any) -> Any:
    from . import registry
    from .navigation.env import Navigation

    own = _take(parameters, (*_POINT, *_PICTURE))
    return Navigation(registry.navigation(**parameters), **own)


def _points(**parameters: Any) -> Any:
    from . import registry
    from .navigation.env import BatchedNavigation

    own = _take(parameters, (*_POINT, *_BATCH))
    return BatchedNavigation(registry.navigation(**parameters), **own)


def _table(family: str, render_mode: None = None, **parameters: Any) -> Any:
    from . import registry
    from .tabular import Tabular

    return Tabular(getattr(registry, family)(**parameters), render_mode=render_mode)


def _tables(family: str, **parameters: Any) -> Any:
    from . import registry
    from .tabular import BatchedTabular

    batch = _take(parameters, _BATCH)
    return BatchedTabular(getattr(registry, family)(**parameters), **batch)


def _examples(family: Callable[..., Any], render_mode: None = None, **parameters: Any) -> Any:
    from .few_shot.base import ExampleEnv

    return ExampleEnv(family(**parameters), render_mode=render_mode)


def _sinusoid(**parameters: Any) -> Any:
    from .few_shot.sinusoid import SinusoidTasks

    return SinusoidTasks(**parameters)


def _sinusoid_frequency(**parameters: Any) -> Any:
    from .few_shot.sinusoid import FrequencySinusoidTasks

    return FrequencySinusoidTasks(**parameters)


def _linear_classification(**parameters: Any) -> Any:
    from .few_shot.half_planes import LinearClassificationTasks

    return LinearClassificationTasks(**parameters)


def _digits(**parameters: Any) -> Any:
    from .few_shot.images import digits

    return digits(**parameters)


def _image_folder(**parameters: Any) -> Any:
    from .few_shot.image_folder import image_folder

    if "root" not in parameters:
        raise ValueError(
            "rlmaml/ImageFolder-v0 needs the folder that your images are in: pass root='...'"
        )
    return image_folder(**parameters)


def _docstrings(**parameters: Any) -> Any:
    from .few_shot.docstrings import docstrings

    return docstrings(**parameters)


def _text(**parameters: Any) -> Any:
    from .few_shot.text_files import text_files

    if "root" not in parameters:
        raise ValueError(
            "rlmaml/Text-v0 needs the folder or file that your texts are in: pass root='...'"
        )
    return text_files(**parameters)


def _take(parameters: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Remove `names` from `parameters`, and return those that were there."""
    return {name: parameters.pop(name) for name in names if name in parameters}


register()
