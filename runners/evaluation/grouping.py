"""Which runs go together: into one table, and there as seeds of one method."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rlmaml.errors import ConfigError
from runners.config import RUN_FIELDS, TrainConfig, flat
from runners.evaluation.baselines import BASELINES
from runners.run_dir import RunDir

META, PLAIN = "meta-trained", "trained"
"""A method of no other name: with inner steps in training, and without."""


def by_method(folders: list[RunDir], configs: list[TrainConfig]) -> dict[str, list[RunDir]]:
    """The runs by method: by their algorithm, and by the settings in which those of one algorithm
    differ, the seed apart."""
    settings = [flat(config.to_dict()) for config in configs]
    ignored = {*RUN_FIELDS, "seed", "preset", "device", "sampling_device", "chunk_size"}
    ignored.remove("iterations")
    several = len({config.algorithm for config in configs}) > 1
    methods: dict[str, list[RunDir]] = {}
    for folder, setting in zip(folders, settings, strict=True):
        alike = [other for other in settings if other["algorithm"] == setting["algorithm"]]
        words = [setting["algorithm"]] if several else []
        words += [
            f"{name} {value}"
            for name, value in setting.items()
            if name not in ignored and any(other.get(name) != value for other in alike)
        ]
        label = ", ".join(words) or (META if setting["inner.steps"] else PLAIN)
        methods.setdefault(label, []).append(folder)
    return methods


def common_folder(paths: list[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    if len({path.is_absolute() for path in paths}) > 1:
        paths = [path.absolute() for path in paths]
    return Path(os.path.commonpath(paths))


def is_of(result: dict[str, Any], place: Path, folders: list[RunDir]) -> bool:
    """Whether a comparison that lies in `place` is of just these runs, and baselines of theirs."""
    return _compared(result, place) == {folder.path.resolve() for folder in folders}


def _compared(result: dict[str, Any], place: Path) -> set[Path]:
    return {
        (place / run).resolve()
        for name, method in result["methods"].items()
        if name not in BASELINES
        for run in method["runs"]
    }


def check_runs(folders: list[RunDir], configs: list[TrainConfig]) -> None:
    """Whether the runs can be put in one table."""
    places = [folder.path.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise ConfigError("A run folder was named twice, and counts as one run: name it once.")
    families = {
        json.dumps(
            [config.env.id, config.env.kwargs, config.data]
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
    """Whether what a comparison would overwrite there is one of these runs, or fewer of them."""
    if out.resolve() == Path(out.resolve().anchor):
        raise ConfigError(f"The runs lie in no folder together but {out}: name one by --out.")
    try:
        before = json.loads((out / "comparison.json").read_text())
        runs = _compared(before, out)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            f"{out / 'comparison.json'} cannot be read ({problem}): move it away, or give another "
            "folder by --out."
        ) from problem
    if not runs <= {folder.path.resolve() for folder in folders}:
        raise ConfigError(
            f"{out / 'comparison.json'} compares other runs: give another folder by --out, or move "
            "it away."
        )
