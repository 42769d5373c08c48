"""Grouping of runs: which go into one table, and which are there the seeds of one method."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rlmaml.config import RUN_FIELDS, TrainConfig, flat
from rlmaml.errors import ConfigError
from runners.evaluation.baselines import BASELINES
from runners.evaluation.results import Comparison
from runners.run_dir import RunDir

META, PLAIN = "meta-trained", "trained"
"""A method of no other name: with inner steps in training, and without."""


def by_method(folders: list[RunDir], configs: list[TrainConfig]) -> dict[str, list[RunDir]]:
    """Group runs by method: by algorithm, and by the settings in which those of one differ.

    The seed makes no other method.
    """
    settings = [flat(config.to_dict()) for config in configs]
    ignored = {*RUN_FIELDS, "seed", "preset", "device", "sampling_device", "chunk_size"}
    ignored.remove("iterations")
    several = len({config.algorithm for config in configs}) > 1
    methods: dict[str, list[RunDir]] = {}
    for folder, setting in zip(folders, settings, strict=True):
        alike = [other for other in settings if other["algorithm"] == setting["algorithm"]]
        parts = [setting["algorithm"]] if several else []
        parts += [
            f"{name} {value}"
            for name, value in setting.items()
            if name not in ignored and any(other.get(name) != value for other in alike)
        ]
        label = ", ".join(parts) or (META if setting["inner.steps"] else PLAIN)
        methods.setdefault(label, []).append(folder)
    return methods


def common_folder(paths: list[Path]) -> Path:
    """Folder that the paths lie in together; of one path, itself."""
    if len(paths) == 1:
        return paths[0]
    if len({path.is_absolute() for path in paths}) > 1:
        paths = [path.absolute() for path in paths]
    return Path(os.path.commonpath(paths))


def is_of(comparison: Comparison, folder: Path, runs: list[RunDir]) -> bool:
    """Check whether a comparison in a folder is of just these runs, and baselines of theirs."""
    return _compared(comparison, folder) == {run.path.resolve() for run in runs}


def _compared(comparison: Comparison, folder: Path) -> set[Path]:
    return {
        (folder / run).resolve()
        for name, method in comparison.methods.items()
        if name not in BASELINES
        for run in method.runs
    }


def check_runs(folders: list[RunDir], configs: list[TrainConfig]) -> None:
    """Check that the runs can be put in one table.

    Raises:
        ConfigError: a run named twice, or runs of several families.
    """
    paths = [folder.path.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ConfigError("A run folder was named twice, and counts as one run: name it once.")
    families = {
        json.dumps(
            [config.env.id, config.env.kwargs, config.data]
            + ([config.env.test_tasks, config.env.tasks_seed] if config.env.test_tasks else [])
            + ([config.examples.shots] if config.data == "examples" else [config.horizon]),
            sort_keys=True,
        )
        for config in configs
    }
    if len(families) > 1:
        raise ConfigError(
            "Runs are compared on the same tasks, but these have several families (environment, "
            f"its arguments, data, and shots or horizon): {', '.join(sorted(families))}. Evaluate "
            "them one by one."
        )


def check_place(out: Path, folders: list[RunDir]) -> None:
    """Check that what a comparison would overwrite there is of these runs, or of fewer of them.

    Raises:
        ConfigError: a comparison of others or that cannot be read, or a root folder.
    """
    if out.resolve() == Path(out.resolve().anchor):
        raise ConfigError(f"The runs lie in no folder together but {out}: name one by --out.")
    try:
        before = Comparison.load(out / "comparison.json")
    except FileNotFoundError:
        return
    except ConfigError as problem:
        raise ConfigError(f"{problem} Move it away, or give another folder by --out.") from problem
    if not _compared(before, out) <= {folder.path.resolve() for folder in folders}:
        raise ConfigError(
            f"{out / 'comparison.json'} compares other runs: give another folder by --out, or move "
            "it away."
        )
