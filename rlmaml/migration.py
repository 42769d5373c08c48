"""Runs of earlier versions, in the words of this one."""

from __future__ import annotations

import math
import re
from typing import Any

from rlmaml.errors import ConfigError
from rlmaml.models.spec import PredictorSpec
from rlmaml.types import Meta

_INPUTS = 10**8
"""Numbers of one input at most."""
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

    Raises:
        ConfigError: a part that is no configuration's, or a choice that there is no more.
    """
    for group in ("env", "inner", "inner_advantages", "outer_advantages", "objective"):
        _require(group, data.get(group, {}), dict, "a JSON object")
    for name in ("algorithm", "outer"):
        _require(name, data.get(name, ""), str, "a name")
    _require("env.kwargs", data.get("env", {}).get("kwargs", {}), dict, "a JSON object")
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
    data["inner"] = _with_share(inner)
    if data.pop("tensorboard", False):
        data["track"] = ["tensorboard"]
    if data.get("objective", {}).get("name") == "adapted":
        data["outer_reduction"] = data.pop("objective").get("reduction", "steps")
    return data


def _with_share(inner: dict[str, Any]) -> dict[str, Any]:
    """Inner settings with a share of later steps in place of their size.

    Raises:
        ConfigError: sizes that are none, or of steps in training.
    """
    later = inner.pop("later_step_size", None)
    if later is None:
        return inner
    sizes = {"step_size": inner.get("step_size", 0.1), "later_step_size": later}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | float) or not size > 0:
            raise ConfigError(f"inner.{name} must be a positive number, got {size!r}.")
    if inner.get("steps", 1) not in (0, 1):
        raise ConfigError(
            f"inner.later_step_size {later} was the size of steps in training, which can no longer "
            "be another than step_size: train anew."
        )
    return inner | {"later_step_share": later / sizes["step_size"]}


def _require(name: str, value: object, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be {what}, got {value!r}.")


def migrate_state(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state beside the meta-parameters, by the names of this version."""
    state = _renamed(state, {"normaliser": "normalizer"})
    if isinstance(state.get("outer"), dict):
        state["outer"] = _renamed(state["outer"], {"optimiser": "optimizer"})
    return state


def _renamed(data: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A copy with keys of new names, in the same order."""
    return {names.get(name, name): value for name, value in data.items()}


def best_iteration(state: dict[str, Any]) -> int | None:
    """The iteration of the best checkpoint, which earlier versions kept among a run's totals."""
    return state.get("totals", {}).get("best_iteration")


def predictor_spec(stored: dict[str, Any] | None, meta: Meta) -> PredictorSpec:
    """Inputs and outputs of a run's network for labeled examples.

    Args:
        stored: the checkpoint's own word; None in those of earlier versions, which had none.
        meta: the meta-parameters. Of an earlier version the last layer of `mean` (a regression) or
            `logits` (a classification) says how many outputs there are, and `words` how many token
            ids. An algorithm may stack several networks along the first axis.

    Raises:
        ConfigError: a word that is none, or more than the meta-parameters can be of, so that a file
            does not have huge networks made.
    """
    if stored is not None:
        try:
            spec = PredictorSpec(**stored)._replace(input_shape=tuple(stored["input_shape"]))
            _check_sizes(spec, meta)
            return spec
        except (TypeError, KeyError, ValueError) as problem:
            raise ConfigError(f"The checkpoint's predictor is {stored!r}: {problem}.") from problem
    params = meta.get("params", {})
    layers = [name for name in params if re.fullmatch(r"(mean|logits)\b.*bias", name)]
    if not layers:
        raise ConfigError("The checkpoint's parameters are no predictor's: it has no last layer.")
    last = max(layers, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
    words = params.get("words.weight")
    return PredictorSpec(
        input_shape=(),
        num_tokens=None if words is None else words.shape[-2],
        output_size=params[last].shape[-1],
        classifies=last.startswith("logits"),
    )


def _check_sizes(spec: PredictorSpec, meta: Meta) -> None:
    """Check that a network's outputs and token ids are so many as some parameters have rows.

    Raises:
        ValueError: they are more, or no numbers; or inputs of no shape that data have.
    """
    shape = spec.input_shape
    if not all(type(size) is int and size > 0 for size in shape) or math.prod(shape) > _INPUTS:
        raise ValueError("its input_shape is of no inputs")
    values = [value for part in meta.values() for value in part.values() if value.numel()]
    rows = [size for value in values for size in value.shape]
    for name in ("output_size", "num_tokens"):
        size = getattr(spec, name)
        if name == "num_tokens" and size is None:
            continue
        if type(size) is not int or not 1 <= size <= max(rows, default=0):
            raise ValueError(f"its {name} is none of its parameters'")
