"""What comes from environments and families of examples is finite, or is said not to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlmaml.errors import EnvironmentFault

DIVERGED = "rlmaml/diverged"
"""Name in info by which an environment says that its simulation blew up in a step. What somebody's
own environment calls `diverged` may mean anything."""


def env_name(env: Any) -> str:
    """The id of an environment, single or batched; or the name of its class."""
    while True:
        known = vars(env).get("env_name")
        if known is not None:  # of copies in other processes
            return known
        inside = vars(env).get("env")
        copies = vars(env).get("envs")
        if inside is None and not copies:
            break
        env = inside if inside is not None else copies[0]
    spec = getattr(env, "spec", None)
    return type(env).__name__ if spec is None else spec.id


def require_finite(
    values: np.ndarray,
    counted: NDArray[np.bool_],
    env: Any,
    *,
    what: str,
    step: int,
    episodes: int,
) -> np.ndarray:
    """Check what M environments gave.

    Args:
        values: floats [M, ...], to be held as float32.
        counted: which of the M have an episode that goes on; the others may give anything.
        env: the vector environment, to be named.
        what: reward or observation.
        step: time step, from 1; 0 is the reset.
        episodes: B, episodes of each task.

    Raises:
        EnvironmentFault: a value that is not finite, of one of those counted.

    Returns:
        The values; 0 where those that are not counted have others that are not finite.
    """
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(np.float32, copy=False))
    if finite.all():
        return values
    rows, well = values.reshape(len(values), -1), finite.reshape(len(values), -1)
    bad = np.flatnonzero(counted & ~well.all(1))
    if len(bad):
        i = int(bad[0])
        value = rows[i][~well[i]][0]
        size = ", more than float32 holds" * bool(np.isfinite(value))
        when = f"in step {step}" if step else "in reset"
        raise EnvironmentFault(
            f"{env_name(env)} returned a{'n' * (what[0] in 'aeiou')} {what} that is not finite "
            f"({value:g}{size}) {when} of copy {i} (task {i // episodes}, episode {i % episodes})."
        )
    return np.where(finite, values, 0).astype(values.dtype)


def require_finite_actions(actions: Tensor) -> None:
    """Check what policies drew [N, B, ...].

    Raises:
        FloatingPointError: an action that is not finite.
    """
    if not torch.isfinite(actions.sum()):
        bad = [i for i, own in enumerate(actions) if not torch.isfinite(own).all()]
        raise FloatingPointError(
            f"The policies of tasks {bad} drew actions that are not finite: their "
            "parameters have blown up. Lower the inner step size or max_kl."
        )


def require_finite_tasks(tasks: Any, env: Any) -> None:
    """Check tasks that were drawn, where they are numbers.

    Raises:
        EnvironmentFault: a task that is not finite.
    """
    if not isinstance(tasks, np.ndarray) or tasks.dtype.kind != "f" or np.isfinite(tasks).all():
        return
    i = int(np.flatnonzero(~np.isfinite(tasks.reshape(len(tasks), -1)).all(1))[0])
    raise EnvironmentFault(
        f"Task {i} of {env_name(env)} is not finite: {tasks[i].tolist()}. Look at its "
        "`sample_tasks`."
    )


def require_finite_examples(inputs: Tensor, targets: Tensor, family: str, what: str = "") -> None:
    """Check examples that a family drew.

    Args:
        inputs: [N, B, *x].
        targets: [N, B, *y].
        family: the name of what drew them.
        what: support or query, if it is known.

    Raises:
        EnvironmentFault: an example that is not finite.
    """
    for name, values in (("inputs", inputs), ("targets", targets)):
        if not values.is_floating_point() or torch.isfinite(values.sum()):
            continue
        bad = (~torch.isfinite(values)).reshape(*values.shape[:2], -1).any(-1)
        if bad.any():  # or their sum alone is too large
            i, j = bad.nonzero()[0].tolist()
            value = values[i, j][~values[i, j].isfinite()].flatten()[0].item()
            raise EnvironmentFault(
                f"{family} drew {f'{what} {name}'.strip()} that are not finite ({value:g}), in "
                f"example {j} of task {i}."
            )
