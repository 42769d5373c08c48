"""Environments with tasks, to meta-train on.

Importing this package registers them; the table is `registry.ENVIRONMENTS`. gymnasium (since 1.0)
has no plugins, but imports a module by itself when asked for
`gymnasium.make("envs:rlmaml/HalfCheetahDir-v0")`. Importing is light: MuJoCo and the environments
are imported when the first one is made. docs/environments.md describes the ids.
"""

from __future__ import annotations

from . import registry

__all__ = ["available_cpus", "register"]


def register() -> None:
    """Register the environments with gymnasium. Done on import; again is harmless."""
    for environment in registry.ENVIRONMENTS:
        registry.register(environment)


def available_cpus() -> int:
    """CPUs that this process may run on, which are fewer than the host has in a container."""
    from .locomotion import mujoco_utils

    return mujoco_utils.available_cpus()


register()
