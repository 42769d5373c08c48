"""Sizes of what results hold, which files that somebody edited may have otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlmaml.errors import ConfigError

if TYPE_CHECKING:
    from runners.evaluation.results import ComparedMethod, Comparison, Evaluation


class _Sized(NamedTuple):
    """An array by its name, and the shape that it is to have."""

    name: str
    value: np.ndarray
    shape: tuple[int, ...]


def check_evaluation(result: Evaluation, source: Path) -> None:
    """Check that an evaluation has scores of every task after every step.

    Raises:
        ConfigError: it has not.
    """
    _check_steps(result.steps, source)
    if result.metric not in result.scores:
        raise ConfigError(f"{source} cannot be read: it has no scores of its metric.")
    _check(_of_evaluation(result), source)


def check_comparison(result: Comparison, source: Path) -> None:
    """Check that a comparison has scores of every method, run and task.

    Raises:
        ConfigError: it has not.
    """
    _check_steps(result.steps, source)
    if not result.methods:
        raise ConfigError(f"{source} cannot be read: it has no methods.")
    for name, method in result.methods.items():
        _check(_of_method(name, method, len(result.tasks), len(result.steps)), source)


def _check_steps(steps: tuple[int, ...], source: Path) -> None:
    if not steps or steps != tuple(range(len(steps))):
        raise ConfigError(f"{source} cannot be read: its steps are {list(steps)[:20]}, not 0, 1 ..")


def _check(arrays: Iterator[_Sized], source: Path) -> None:
    for name, value, shape in arrays:
        if np.shape(value) != shape:
            raise ConfigError(
                f"{source} cannot be read: its {name} have shape {np.shape(value)}, not {shape}."
            )


def _of_evaluation(result: Evaluation) -> Iterator[_Sized]:
    after = (max(len(result.steps), np.size(result.mean)),)  # more than its steps do no harm
    for name, scores in result.scores.items():
        yield _Sized(f"scores {name}", scores, (len(result.tasks), *after))
    summaries = {"": result, **result.others, **result.groups}
    for name, summary in summaries.items():
        yield _Sized(f"means {name}".rstrip(), summary.mean, after)
        yield _Sized(f"ci95 {name}".rstrip(), summary.ci95, after)
    for name, group in result.groups.items():
        for other, means in group.others.items():
            yield _Sized(f"{other} of {name}", means, after)
    for fit in result.fits:
        yield _Sized("grids of fits", fit.grid, (np.size(fit.grid),))
        yield _Sized("curves of fits", fit.curves, (*after, np.size(fit.grid)))
        for points in (fit.support, fit.query):
            yield _Sized("examples of fits", points, (2, np.size(points) // 2))


def _of_method(name: str, method: ComparedMethod, tasks: int, steps: int) -> Iterator[_Sized]:
    runs, after = len(method.runs), np.shape(method.mean)
    if after not in ((steps,), (1,)) or not runs:  # an oracle does not adapt
        after = (steps,)
    yield _Sized(f"means of {name}", method.mean, after)
    yield _Sized(f"scores of {name}", method.scores, (runs, tasks, *after))
    yield _Sized(f"means of the runs of {name}", method.run_means, (runs, *after))
    yield _Sized(f"interquartile means of {name}", method.iqm, after)
    for group, summary in method.groups.items():
        yield _Sized(f"means of {name}, {group}", summary.mean, after)
        yield _Sized(f"ci95 of {name}, {group}", summary.ci95, after)
    for interval in (method.mean_ci95, method.gap_closed_ci95):
        if interval is not None:
            yield _Sized(f"intervals of {name}", interval, (2, *after))
    if method.gap_closed is not None:
        yield _Sized(f"gap closed by {name}", method.gap_closed, after)
    per_run = (method.seeds, method.iteration, method.train_env_steps, method.step_size)
    for each in per_run:
        yield _Sized(f"runs of {name}", np.asarray(each), (runs,))
    for size, means in method.sizes_tried.items():
        yield _Sized(f"means of {name} by steps of {size}", means, after)
    # Files of before have none of these.
    for each in (method.later_step_size, method.train_seconds, method.checkpoint_sha256):
        if len(each):
            yield _Sized(f"runs of {name}", np.asarray(each), (runs,))
