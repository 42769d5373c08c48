"""Settings that set a run's configuration apart, and the commands that make it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlmaml.config import TrainConfig, flat
from runners.evaluation.results import Conditions
from runners.presets import PRESETS
from runners.run_dir import RunDir


@dataclass(frozen=True)
class Setting:
    """A field of a configuration, by its name as an option, and what else it might have been."""

    name: str
    value: str
    preset: str
    default: str

    @property
    def special(self) -> bool:
        """True if the run differs from its preset here."""
        return self.value != self.preset

    @property
    def notable(self) -> bool:
        """True if it differs from the preset, or from the default."""
        return self.special or self.value != self.default


def settings(config: TrainConfig) -> list[Setting]:
    """All of a configuration's fields: those that differ from the preset, from the default, others.

    A configuration that began as no preset is compared with the most similar one.
    """
    own, preset, default = (
        flat(each.to_dict()) for each in (config, PRESETS[base(config)][1], TrainConfig())
    )
    rows = [
        Setting(name, *(_as_option(fields.get(name)) for fields in (own, preset, default)))
        for name in own
        if name != "preset"
    ]
    return sorted(rows, key=lambda row: (not row.special, not row.notable))


def base(config: TrainConfig) -> str:
    """The preset a configuration began as, or else the one it differs from in the fewest fields."""
    if config.preset in PRESETS:
        return config.preset
    return min(PRESETS, key=lambda name: len(PRESETS[name][1].differing(config)))


def train_command(run: RunDir) -> str:
    """The command that made a run; of one that stores none, what makes it from its settings."""
    origin = run.read_origin()
    if origin.command is not None:
        return portable(origin.command)
    name = short(run.path)
    arguments = ["rlmaml", "train", "--config", f"{name}/config.json"]
    if origin.init is not None:
        arguments += ["--init", short_if_absolute(origin.init)]
    return shlex.join([*arguments, "--out", f"{name}-again"])


def evaluate_command(result: Conditions, runs: Sequence[str], against: Sequence[str] = ()) -> str:
    """The command that made an evaluation or a comparison.

    Of one that was made in Python, or by an earlier version, a command that makes the like of it.

    Args:
        result: what was made.
        runs: names of the run folders, if there is no command.
        against: baselines, if there is no command.
    """
    if result.command is not None:
        return portable(result.command)
    arguments = ["rlmaml", "evaluate", *runs]
    if against:
        arguments += ["--against", *against]
    share = result.later_step_share
    if share is None and result.step_size is not None and result.later_step_size is not None:
        share = round(result.later_step_size / result.step_size, 12)  # a file of before
    options = {
        "tasks": len(result.tasks),
        "steps": result.steps[-1],
        "episodes": result.episodes,
        "queries": result.queries,
        "step-size": result.step_size,
        "later-step-share": share,
        "seed": result.seed,
    }
    for name, value in options.items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    if result.deterministic:
        arguments.append("--deterministic")
    if result.checkpoint == "best":
        arguments += ["--checkpoint", "best"]
    elif result.checkpoint is not None:
        arguments += ["--checkpoint", f"{runs[0]}/checkpoints/{result.checkpoint}"]
    return shlex.join(arguments)


def portable(command: str) -> str:
    """The command with names instead of the absolute paths of one machine."""
    try:
        return shlex.join(map(short_if_absolute, shlex.split(command)))
    except ValueError:  # not written by us
        return command


def short(path: Path) -> str:
    """Name of a run folder in commands: runs/NAME, wherever it lies, or runs/NAME/seed-S."""
    path = path.resolve()
    parts = path.parts[-2:] if re.fullmatch(r"seed-\d+", path.name) else path.parts[-1:]
    return "/".join(("runs", *parts))


def short_if_absolute(word: str) -> str:
    """A run's folder or a checkpoint's by a name, in NAME=PATH too; anything else as it came.

    In JSON, where paths are those of data, their last part remains.
    """
    path = Path(word)
    if path.is_absolute():
        if path.parent.name == "checkpoints":
            return f"{short(path.parent.parent)}/checkpoints/{path.name}"
        return short(path)
    if word.startswith(("{", "[", '"')):
        try:
            value = json.loads(word)
        except (ValueError, RecursionError):
            return word
        shorter = without_folders(value)
        return word if shorter == value else json.dumps(shorter)
    name, equals, value = word.partition("=")
    return f"{name}={short_if_absolute(value)}" if equals else word


def without_folders(value: Any) -> Any:
    """A JSON value with the last part of every absolute path in it."""
    if isinstance(value, dict):
        return {name: without_folders(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name or value
    return value


def _as_option(value: object) -> str:
    """Write a value as the command line takes it, without the folders of one machine."""
    if isinstance(value, dict):
        return json.dumps(without_folders(value))
    if isinstance(value, list | tuple):
        return " ".join(map(_as_option, value))
    return str(without_folders(value))
