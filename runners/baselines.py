"""What a meta-trained run is compared with, each a run folder of its own.

random      the same network, untrained, adapted by the same inner loop
pretrained  one policy (or predictor) for all tasks, trained without adaptation on as many
            environment steps, then adapted by the same inner loop
oracle      the same, but it is shown the task; it does not adapt
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from rlmaml import checkpoint
from rlmaml.outer import ObjectiveConfig
from runners import train
from runners.config import TrainConfig, changes
from runners.errors import UsageError
from runners.runfolder import RunFolder

Baseline = Literal["random", "pretrained", "oracle"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)


def baseline_run(folder: RunFolder, name: Baseline, *, quiet: bool = False) -> RunFolder:
    """The finished baseline of a run, in its folder's `baselines/NAME`.

    It is trained if it is not there, gone on with if it was interrupted, and reused otherwise.

    Raises:
        UsageError: one was trained with other settings, or this family cannot have it.
        SystemExit: stopped by a signal, after saving.
    """
    config = baseline_config(folder.read_config(), name)
    place = RunFolder(folder.path / "baselines" / name)
    if not place.path.exists():
        return train.train(config, place.path, quiet=quiet)
    differing = changes(place.read_config(), config)
    if differing:
        raise UsageError(
            f"{place.path} was trained with other settings ({'; '.join(differing)}): move it away "
            "to have it trained anew."
        )
    done = checkpoint.available(place.checkpoints)
    if not done or done[-1] < config.iterations:
        train.resume(place, config, quiet=quiet)
    return place


def baseline_config(config: TrainConfig, name: Baseline) -> TrainConfig:
    """The settings of a run's baseline: the run's own but for what makes the baseline.

    The iterations of `pretrained` and `oracle` are as many as cost the run's environment steps (or
    examples): a meta-iteration's inner steps cost some too.
    """
    if name == "random":
        return dataclasses.replace(config, iterations=0)
    sets = config.inner.steps * (1 + (config.inner.hessian == "separate"))
    cost = 1 + sets
    if config.data == "examples":
        support = config.examples.shots * (1 + (config.inner.hessian == "separate"))
        cost = 1 + support / config.examples.queries
    objective = config.objective
    if objective.name == "e-maml":  # its score term is of inner data, and there are none
        objective = ObjectiveConfig(reduction=objective.reduction)
    inner = dataclasses.replace(config.inner, steps=0, hessian="support")
    return dataclasses.replace(
        config,
        iterations=math.ceil(config.iterations * cost),
        inner=inner,
        objective=objective,
        env=dataclasses.replace(config.env, observe_task=name == "oracle"),
    )


def check_names(names: tuple[str, ...]) -> tuple[Baseline, ...]:
    """Baselines by name, each once, in the order of `BASELINES`.

    Raises:
        UsageError: an unknown one.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise UsageError(
            f"--against takes {', '.join(BASELINES)}; got {', '.join(unknown)}. Another run folder "
            "is compared by naming it: rlmaml evaluate A B."
        )
    return tuple(name for name in BASELINES if name in names)
