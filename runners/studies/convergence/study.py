"""`rlmaml theory`: the convergence analysis of MAML, measured; docs/theory.md explains it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rlmaml.errors import ConfigError
from rlmaml.profiling import one_thread
from runners.command_line.progress import progress
from runners.errors import require_at_least
from runners.io import read_json, versions, write_json
from runners.studies.convergence import estimator, figures, iterations, practice, stalling

Part = Literal["moments", "iterations", "stalls", "practice"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Theory:
    """Results of the studies; None for parts that were not run."""

    out: Path
    seconds: dict[str, float]
    """Each part took."""
    moments: estimator.MomentsStudy | None = None
    iterations: iterations.IterationsStudy | None = None
    stalls: list[stalling.Stall] | None = None
    practice: practice.Practice | None = None

    def __str__(self) -> str:
        tables = []
        if self.moments is not None:
            tables.append(estimator.table(self.moments))
        if self.iterations is not None:
            tables.append(iterations.table(self.iterations))
        if self.stalls is not None:
            tables.append(stalling.table(self.stalls))
        if self.practice is not None:
            tables.append(practice.table(self.practice))
        tables.append(f"Written: {self.out}/theory.json and a figure of each part.")
        return "\n\n".join(tables)


@dataclass(frozen=True)
class _Settings:
    """The arguments of `theory` that parts read."""

    out: Path
    steps: int
    practice_iterations: int
    seed: int


def theory(
    *,
    out: Path = Path("runs/theory"),
    only: tuple[Part, ...] = (),
    steps: int = 12_000,
    practice_iterations: int = 500,
    seed: int = 0,
    quiet: bool = False,
) -> Theory:
    """Measure the convergence analysis of MAML on problems of which every constant is known.

    The parts are the estimator's moments, iterations against precision, who stalls, and the rule in
    practice. Writes theory.json and a figure of each part; what another call left in the folder of
    other parts is kept.

    Args:
        out: Folder for theory.json and the figures.
        only: Parts; all of them if not given.
        steps: Gradient steps of `iterations`. The more there are, the nearer the fitted slope is to
            its limit.
        practice_iterations: Meta-iterations of `practice`.
        seed: Draws the samples of `iterations`, and the training of `practice`.
        quiet: Show no progress.

    Raises:
        ConfigError: an unknown part, numbers that are too small, or a theory.json there that cannot
            be read.
    """
    if unknown := [part for part in only if part not in PARTS]:
        raise ConfigError(f"There is no part {unknown[0]!r}: use {', '.join(PARTS)}.")
    require_at_least(100, steps=steps)
    require_at_least(1, practice_iterations=practice_iterations)
    require_at_least(0, seed=seed)
    settings = _Settings(out, steps, practice_iterations, seed)
    file = out / "theory.json"
    before = read_json(file) if file.exists() else {}
    result = Theory(out, {})
    parts = only or PARTS
    # The problems are of a few numbers.
    with one_thread(), progress(len(parts), "theory", "part", quiet=quiet) as bar:
        for part in parts:
            began = time.perf_counter()
            result = replace(result, **{part: _RUN[part](settings)})
            result.seconds[part] = time.perf_counter() - began
            _write(result, before, seed)
            bar.update()
    return result


def _moments(settings: _Settings) -> estimator.MomentsStudy:
    study = estimator.moments_study()
    figures.bias(study, settings.out / "bias.png")
    return study


def _iterations(settings: _Settings) -> iterations.IterationsStudy:
    study = iterations.iterations_study(settings.steps, settings.seed)
    figures.iterations(study.all_data, settings.out / "iterations.png")
    return study


def _stalls(settings: _Settings) -> list[stalling.Stall]:
    results = stalling.stalls()
    figures.stalls(results, settings.out / "stalls.png")
    return results


def _practice(settings: _Settings) -> practice.Practice:
    study = practice.practice(settings.practice_iterations, settings.seed)
    figures.practice(study, settings.out / "practice.png")
    return study


_RUN: dict[Part, Callable[[_Settings], object]] = {
    "moments": _moments,
    "iterations": _iterations,
    "stalls": _stalls,
    "practice": _practice,
}


def _write(result: Theory, before: dict[str, object], seed: int) -> None:
    """Write theory.json, keeping the parts that were there before and were not run."""
    fields = asdict(result)
    parts = {part: fields[part] for part in PARTS if fields[part] is not None}
    earlier = before.get("seconds")
    seconds = (earlier if isinstance(earlier, dict) else {}) | result.seconds
    about = {"seconds": seconds, "versions": versions(), "seed": seed}
    write_json(result.out / "theory.json", before | parts | about)
