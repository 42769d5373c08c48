"""What sets a run's configuration apart, and the commands that make it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.config import TrainConfig, flat
from runners.presets import PRESETS, maml_paper
from runners.presets.overrides import with_algorithm

_NOT_OPTIONS = ("preset", "seed")


@dataclass(frozen=True)
class Setting:
    """A field of a configuration, by its name as an option, and what else it might have been."""

    name: str
    value: str
    preset: str
    default: str

    @property
    def special(self) -> bool:
        """Whether the run differs from its preset here."""
        return self.value != self.preset

    @property
    def notable(self) -> bool:
        return self.special or self.value != self.default


def settings(config: TrainConfig) -> list[Setting]:
    """All of a configuration's fields: those that differ from the preset, from the default, others.

    A configuration that began as no preset is compared with the most similar one.
    """
    own, preset, default = (
        flat(each.to_dict()) for each in (config, PRESETS[base(config)][1], TrainConfig())
    )
    rows = [
        Setting(name, *(_shown(fields.get(name)) for fields in (own, preset, default)))
        for name in own
        if name != "preset"
    ]
    return sorted(rows, key=lambda row: (not row.special, not row.notable))


def base(config: TrainConfig) -> str:
    """The preset a configuration began as, or else the one it differs from in the fewest fields."""
    if config.preset in PRESETS:
        return config.preset
    return min(PRESETS, key=lambda name: len(_options(config, name)))


def train_command(
    config: TrainConfig, out: str, seeds: Sequence[int] = (), init: str | None = None
) -> str:
    """The `rlmaml train` that makes a run.

    Args:
        out: run folder to name in it.
        seeds: of several runs, in out/seed-S; the configuration's own if empty.
        init: what the run started from.
    """
    name = base(config)
    words = ["rlmaml", "train", name, *_options(config, name)]
    if len(seeds) > 1:
        words += ["--seeds", *map(str, seeds)]
    elif config.seed != PRESETS[name][1].seed:
        words += ["--seed", str(config.seed)]
    if init is not None:
        words += ["--init", init]
    return shlex.join([*words, "--out", out])


def evaluate_command(
    config: TrainConfig,
    evaluation: dict[str, Any],
    runs: Sequence[str],
    against: Sequence[str] = (),
) -> str:
    """The `rlmaml evaluate` that made an evaluation of runs, beside baselines if there are any."""
    if evaluation.get("tasks_given") and config.preset in maml_paper.PRESETS:
        return f"rlmaml reproduce {config.preset} --measure-only"
    supervised = config.data == "examples"
    usual = {
        "--tasks": 600 if supervised else 40,
        "--steps": 10 if supervised else 3,
        "--episodes": None if supervised else 20,
        "--queries": config.examples.queries if supervised else None,
        "--step-size": config.inner.step_size,
        "--seed": 0,
    }
    made = {f"--{name.replace('_', '-')}": value for name, value in evaluation.items()}
    made["--steps"] = evaluation["steps"][-1]
    if isinstance(evaluation["tasks"], list):  # a comparison's
        made["--tasks"] = len(evaluation["tasks"])
    words = ["rlmaml", "evaluate", *runs]
    if against:
        words += ["--against", *against]
    for flag, value in usual.items():
        if made.get(flag) != value:
            words += [flag, _shown(made.get(flag))]
    if evaluation.get("deterministic"):
        words.append("--deterministic")
    later = evaluation.get("later_step_size")
    if later != config.inner.later_step_size and later == evaluation["step_size"] / 2:
        words += ["--halve-later-steps"]
    if evaluation.get("checkpoint") is not None:  # of a comparison
        words += [
            "--checkpoint",
            "best"
            if evaluation["checkpoint"] == "best"
            else f"{runs[0]}/checkpoints/{evaluation['checkpoint']}",
        ]
    iteration = evaluation.get("iteration", config.iterations)
    if iteration != config.iterations and len(runs) == 1:
        words += ["--checkpoint", f"{runs[0]}/checkpoints/{iteration:06d}"]
    return shlex.join(words)


def place(path: Path) -> str:
    """How commands name a run folder: runs/NAME, wherever it lies; its seed's folder with it."""
    path = path.resolve()
    parts = path.parts[-2:] if re.fullmatch(r"seed-\d+", path.name) else path.parts[-1:]
    return "/".join(("runs", *parts))


def origin(init: str) -> str:
    """How commands name what a run started from: a run's folder or a checkpoint's."""
    path = Path(init)
    if not path.is_absolute():
        return init
    return "/".join(("runs", *path.parts[-3 if path.parent.name == "checkpoints" else -1 :]))


def _options(config: TrainConfig, preset: str) -> list[str]:
    """The options that make a preset the configuration, but for the seed."""
    default = PRESETS[preset][1]
    if config.algorithm == default.algorithm:
        return _words(default.differing(config))
    options: dict[str, Any] = {"algorithm": config.algorithm}
    if config.iterations != default.iterations:  # what the method brings is made for them
        options["iterations"] = config.iterations
        default = default.changed({"iterations": config.iterations})
    return _words(options | with_algorithm(default, config.algorithm).differing(config))


def _words(options: dict[str, Any]) -> list[str]:
    words = []
    for name, value in options.items():
        if name not in _NOT_OPTIONS:
            words.append(f"--{name.replace('_', '-')}")
            words += map(_shown, value) if isinstance(value, tuple) else [_shown(value)]
    return words


def _shown(value: Any) -> str:
    """As the command line takes it."""
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)
