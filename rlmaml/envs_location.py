"""Our package `envs`, found by its place beside this one.

`gymnasium.make("envs:rlmaml/...")` imports whatever `envs` comes first on the path, and many
projects have a folder of that name. `gymnasium.make("rlmaml:rlmaml/...")` imports rlmaml, which
registers the same ids here and looks for `envs` when the first environment is made.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import gymnasium

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

FOLDER = Path(__file__).resolve().parent.parent / "envs"
"""The folder that holds our `envs`."""
PRIVATE_NAME = "_rlmaml_envs"
"""Name of our `envs` where that name is taken by another package."""


def find_envs() -> ModuleType:
    """Our package `envs`, imported: as `envs` where that is ours, else as `_rlmaml_envs`.

    Raises:
        ImportError: no folder `envs` beside the folder of rlmaml.
    """
    if PRIVATE_NAME in sys.modules:
        return sys.modules[PRIVATE_NAME]
    init = FOLDER / "__init__.py"
    if not init.is_file():
        raise ImportError(f"rlmaml's environments are missing: {init} does not exist; install anew")
    if _envs_is(init):
        return importlib.import_module("envs")
    return _load(PRIVATE_NAME, init)


def register_environments() -> None:
    """Register the ids of `envs` with gymnasium, without importing it."""
    table = FOLDER / "registry.py"
    if not table.is_file():
        return
    for row in _load(f"{PRIVATE_NAME}_table", table).ENVIRONMENTS:
        if row.id not in gymnasium.registry:
            gymnasium.register(
                row.id,
                entry_point=partial(_make_single, row.id),
                vector_entry_point=partial(_make_batched, row.id) if row.batched else None,
                max_episode_steps=row.max_episode_steps,
            )


def _make_single(env_id: str, **parameters: object) -> gymnasium.Env:
    registry = find_envs().registry
    return registry.make_single(registry.find(env_id), **parameters)


def _make_batched(env_id: str, **parameters: object) -> VectorEnv:
    registry = find_envs().registry
    return registry.make_batched(registry.find(env_id), **parameters)


def _envs_is(init: Path) -> bool:
    """True if the file is what `import envs` runs, or has run."""
    if "envs" in sys.modules:
        file = sys.modules["envs"].__file__
    else:
        spec = importlib.util.find_spec("envs")
        file = spec.origin if spec else None
    return file is not None and Path(file).resolve() == init


def _load(name: str, path: Path) -> ModuleType:
    """The module or package in a file, under a name of our choice."""
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
