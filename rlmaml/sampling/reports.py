"""What copies report in `info`, put together whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from rlmaml.sampling.task_values import carried


class _AnyReports(VectorEnv):
    """Keeps reports of several kinds or shapes by one name.

    Gymnasium makes an array of the kind that the first copy reports: a 0 from it cuts the 0.7 of
    the next to 0, and a word or a longer array ends the run.
    """

    def _add_info(
        self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int
    ) -> dict[str, Any]:
        mended: dict[Any, Any] = {}
        for name, value in env_info.items():
            held = vector_infos.get(name)
            if isinstance(held, np.ndarray) and held.dtype != object:
                vector_infos[name] = held = _wide_enough(held, value)
            elif held is None and isinstance(value, int) and np.asarray(value).dtype == object:
                vector_infos[name] = np.full(self.num_envs, None)
            elif isinstance(held, dict) and not isinstance(value, dict):
                vector_infos[name] = held = np.full(self.num_envs, None)
            if isinstance(held, np.ndarray) and isinstance(value, dict):
                mended[name] = MappingProxyType(value)  # goes in as one value
        return super()._add_info(vector_infos, {**env_info, **mended}, env_num)


class SyncCopies(_AnyReports, SyncVectorEnv):
    """Copies in this process."""


class AsyncCopies(_AnyReports, AsyncVectorEnv):
    """Copies in a process each."""


def reported(info: Mapping[str, Any], name: str, count: int) -> NDArray[np.float64]:
    """Values that the environments report by a name, [M]; 0 where they say nothing.

    With SAME_STEP, Gymnasium's own vector environments move the info of an episode's last step
    into `final_info`; for every key, `_key` says which copies have it.
    """
    values = np.zeros(count)
    every = np.ones(count, bool)
    final = info.get("final_info", {})
    for source, rows in ((info, every), (final, info.get("_final_info", every))):
        if name in source:
            values = np.where(rows & source.get(f"_{name}", every), source[name], values)
    return values.astype(float)


def _wide_enough(held: np.ndarray, value: Any) -> np.ndarray:
    """An array with a row for each copy, which takes another row."""
    if type(value) is held.dtype.type or (isinstance(value, float) and held.dtype == np.float64):
        return held
    row = None if isinstance(value, dict) else _array(value)
    if row is None or row.shape != held.shape[1:] or row.dtype.kind not in "biuf":
        return carried(held)
    if held.dtype.kind not in "biuf":
        return carried(held)
    return held.astype(np.result_type(held.dtype, row.dtype), copy=False)


def _array(value: Any) -> np.ndarray | None:
    try:
        return np.asarray(value)
    except Exception:  # of parts of several lengths
        return None
