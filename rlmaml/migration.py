"""Runs of earlier versions, in the words of this one."""

from __future__ import annotations

from typing import Any

_FIELDS = {
    "optimiser": "optimizer",
    "normalise_observations": "normalize_observations",
    "method": "algorithm_settings",
}
_NESTED = {
    "env": {"vectorisation": "vectorization"},
    "inner_advantages": {"normalise": "normalize"},
    "outer_advantages": {"normalise": "normalize"},
}


def migrate_config(data: dict[str, Any]) -> dict[str, Any]:
    """A stored run's configuration, of a version that had fewer choices or other names for them.

    What was another algorithm then and is not said in the same words now is left to be refused.
    """
    data = _renamed(data, _FIELDS)
    for group, names in _NESTED.items():
        if group in data:
            data[group] = _renamed(data[group], names)
    if data.get("outer") == "optimiser":
        data["outer"] = "optimizer"
    env = data.get("env", {})
    if "colour" in env.get("kwargs", {}):
        data["env"] = env | {"kwargs": _renamed(env["kwargs"], {"colour": "color"})}
    inner = dict(data.get("inner", {}))
    if data.get("data") != "examples":
        inner.setdefault("surrogate", "log-likelihood")
    if inner.get("adjoint") == "unrolled":
        del inner["adjoint"]
    data["inner"] = inner
    if data.get("objective", {}).get("name") == "adapted":
        data["outer_reduction"] = data.pop("objective").get("reduction", "steps")
    return data


def migrate_state(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds beside the meta-parameters."""
    state = _renamed(state, {"normaliser": "normalizer"})
    if isinstance(state.get("outer"), dict):
        state["outer"] = _renamed(state["outer"], {"optimiser": "optimizer"})
    return state


def _renamed(data: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A copy with keys of new names, in the same order."""
    return {names.get(name, name): value for name, value in data.items()}
