"""`rlmaml train`: from the arguments of a command line to runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from rlmaml import processes, sources
from rlmaml.algorithms import get_algorithm
from rlmaml.config import Options, TrainConfig, flat
from rlmaml.errors import ConfigError
from rlmaml.json_dataclasses import from_dict
from runners.command_line.options import STYLE, options_type
from runners.command_line.terminal import say
from runners.environments import build_experiment
from runners.errors import TrainingStopped, require_at_least
from runners.presets import get_preset, list_presets, with_algorithm
from runners.run_dir import RunDir, read_config, read_origin
from runners.tracking.trackers import check_trackers
from runners.training import own_processes
from runners.training.checkpoints import not_resumable, processes_before
from runners.training.jobs import of_seed, run_jobs
from runners.training.train import resume, train

USAGE = """rlmaml train PRESET [options]         meta-train
rlmaml train --resume DIR [options]   go on with a run
rlmaml train --config FILE [options]  repeat one

`rlmaml train PRESET --help` explains what people change first, --help-all every option.
The presets:"""

ALL = "--help-all"
_FIRST = ("iterations", "tasks", "seed", "device", "threads", "track", "env.id", "env.kwargs")
_FIRST += ("inner.steps", "inner.step_size", "algorithm_settings")
_FIRST_OF = {
    "episodes": (
        "episodes",
        "horizon",
        "normalize_observations",
        "inner.before_weight",
        "inner_advantages.discount",
        "outer_advantages.discount",
    ),
    "examples": ("examples",),
    "trust-region": ("trust_region.max_kl",),
    "optimizer": ("optimizer.learning_rate",),
}


def first_options(config: TrainConfig) -> frozenset[str]:
    """The options that people change first, which `--help` shows: names, and groups as a whole."""
    of_kind = _FIRST_OF[config.data] + _FIRST_OF.get(config.outer, ("outer_settings",))
    return frozenset(_FIRST + of_kind)


@dataclass(frozen=True)
class Choice:
    """Options that decide which others there are."""

    algorithm: str | None = None
    """The algorithm: a name of `rlmaml list`, or MODULE:CLASS of your own; the preset's if not
    given."""
    outer: str | None = None
    """The outer step: trust-region (TRPO), optimizer (of torch.optim, on the meta-gradient), or
    MODULE:CLASS of your own; the preset's or the algorithm's if not given."""
    resume: Path | None = None
    """Run folder to go on with, from its newest checkpoint."""
    config: Path | None = None
    """A run's config.json to repeat, in place of a preset."""


@dataclass(frozen=True)
class RunOptions:
    """Options that say what becomes of the runs."""

    out: Path | None = None
    """Run folder to make; runs/PRESET if not given."""
    init: Path | None = None
    """Checkpoint or run folder, or what else a run is named by (NAME, hf://USER/NAME), whose
    meta-parameters to start from."""
    seeds: tuple[int, ...] = ()
    """Train one run per seed, in DIR/seed-S, one after the other."""
    jobs: int = 1
    """Of --seeds so many runs at a time, each in a process and on CPUs of its own."""
    quiet: bool = False
    """Show no progress."""
    processes: int | None = None
    """Divide the tasks among so many processes, which share the CPUs. If not given, as many as are
    fastest in long runs of many time steps on CPUs, unless --threads is given; otherwise one."""
    timeout: float = 600.0
    """Seconds that one of several processes waits for another before the run ends."""


def train_command(arguments: Sequence[str]) -> None:
    """Meta-train a model over a family of tasks.

    Args:
        arguments: [PRESET] [--algorithm NAME] [--resume DIR | --config FILE] [options].

    Raises:
        ConfigError: bad input.
        TrainingStopped: training could not go on, after saving.
        SystemExit: stopped by a signal, after saving; or `--help`.
    """
    own_processes.end_with_host()
    choice, run, config = parse(arguments)
    if not 0 < run.timeout < 1e9:
        raise ConfigError(f"--timeout must be above 0, got {run.timeout:g}.")
    require_at_least(1, jobs=run.jobs)
    if run.jobs > 1:
        _check_jobs(run)
    runs = _runs(choice, run, config)
    count = _processes(choice, run, config)
    if count == 1:  # or they are started when it is sure that they are of use
        processes.join(run.timeout)
    if choice.resume is None:
        _train_all(arguments, run, runs, count)
        return
    with own_processes.with_others(arguments, count, run.timeout):
        resume(RunDir(choice.resume), config, quiet=run.quiet)


def _runs(choice: Choice, run: RunOptions, config: TrainConfig) -> dict[Path, TrainConfig]:
    """The folder and configuration of each run that was asked for.

    Raises:
        ConfigError: options that do not go together.
    """
    if choice.resume is not None:
        for name in ("out", "init", "seeds"):
            if getattr(run, name):
                raise ConfigError(f"--resume goes on with a run where it is: leave out --{name}.")
        return {choice.resume: config}
    out = run.out or Path("runs") / config.preset
    if len(set(run.seeds)) < len(run.seeds):
        raise ConfigError("--seeds names a seed twice: one run would be counted as two.")
    if run.seeds:
        return {out / f"seed-{seed}": dataclasses.replace(config, seed=seed) for seed in run.seeds}
    return {out: config}


def _processes(choice: Choice, run: RunOptions, config: TrainConfig) -> int:
    """The number of processes to be, this one and those that it is to start.

    Raises:
        ConfigError: a number that cannot be, or that somebody else decides.
    """
    others = processes.started() > 1
    if run.processes is not None:
        for name, starts in (("--jobs", run.jobs > 1), ("torchrun", processes.launcher())):
            if starts:
                raise ConfigError(
                    f"{name} starts processes of its own: leave it out, or --processes."
                )
        own_processes.check_count(run.processes, config)
        return 1 if others else run.processes
    if others or run.jobs > 1 or processes.launcher():
        return 1
    before = None
    if choice.resume is not None:
        folder = RunDir(choice.resume)
        if folder.read_config().threads == config.threads:  # or they are wanted now
            before = processes_before(folder)
    return own_processes.worthwhile(config, before)


def _train_all(
    arguments: Sequence[str], run: RunOptions, runs: dict[Path, TrainConfig], count: int
) -> None:
    """Train each of the runs, in so many processes.

    Raises:
        ConfigError: a folder that is taken.
        TrainingStopped: some could not go on, after saving.
    """
    again = processes.restarted()
    for path, config in runs.items():  # all of them before hours are spent on the first
        if processes.is_first() and not (again and _begun_here(path)):
            RunDir(path).check_free()
        if processes.is_first():
            check_trackers(config.track, path)
    if run.jobs > 1 or count > 1:  # what is wrong is told once, before others are started
        build_experiment(next(iter(runs.values())), tasks=1).close()
    if run.jobs > 1:
        stopped = run_jobs(arguments, {path: each.seed for path, each in runs.items()}, run.jobs)
    else:
        stopped = _in_turn(arguments, run, runs, count, again)
    if stopped:
        raise TrainingStopped(f"{len(stopped)} of {len(runs)} runs stopped: {', '.join(stopped)}.")


def _check_jobs(run: RunOptions) -> None:
    """Check that there are several runs to have at a time, and that nobody else divides them.

    Raises:
        ConfigError: there are not, or torchrun does.
    """
    if not run.seeds:
        raise ConfigError("--jobs is for --seeds, a run each: name some, or leave out --jobs.")
    if processes.started() > 1:
        raise ConfigError("--jobs starts processes of its own: leave out torchrun, or --jobs.")


def _begun_here(path: Path) -> bool:
    """True of a run that processes of the same torchrun began, before it started them again."""
    folder = RunDir(path)
    return not folder.is_free() and folder.read_origin().launcher == processes.launcher()


def _in_turn(
    arguments: Sequence[str],
    run: RunOptions,
    runs: dict[Path, TrainConfig],
    count: int,
    again: bool,
) -> list[str]:
    """Train one run after the other; return the names of those that stopped before their end."""
    stopped = []
    for path, config in runs.items():
        words = of_seed(arguments, path, config.seed) if run.seeds else arguments
        try:
            with own_processes.with_others(words, count, run.timeout):
                _trained(config, path, run, again)
        except TrainingStopped as problem:  # another seed may fare better
            if len(runs) == 1 or processes.size() > 1:  # the others may not have stopped
                raise
            say(f"{path}: {problem}")
            stopped.append(path.name)
    return stopped


def _trained(config: TrainConfig, path: Path, run: RunOptions, again: bool) -> None:
    """Train; or go on with what was begun before torchrun started the processes again."""
    if processes.agreed(again and _begun_here(path)):
        resume(RunDir(path), config, quiet=run.quiet)
    else:
        train(config, path, init=run.init, quiet=run.quiet)


def parse(arguments: Sequence[str]) -> tuple[Choice, RunOptions, TrainConfig]:
    """Read what `rlmaml train` was asked for.

    Raises:
        ConfigError: bad input.
        SystemExit: options that there are not; or `--help`.
    """
    if not arguments or arguments[0] in ("-h", "--help", ALL):
        print(f"{USAGE}\n\n{list_presets()}")
        raise SystemExit(0)
    preset = arguments[0] if not arguments[0].startswith("-") else None
    # What decides which options there are is taken first, and does not come back.
    choice, rest = tyro.cli(
        Choice,
        args=list(arguments[1:] if preset else arguments),
        prog="rlmaml train",
        config=STYLE,
        add_help=False,
        return_unknown_args=True,
    )
    base = _base(preset, choice)
    run, given = _parse_options(base, choice, rest, preset)
    if choice.config is not None and run.init is None:  # what was made once is made again
        init = read_origin(choice.config).init
        run = dataclasses.replace(run, init=init and Path(init))
    return choice, run, _with_options(base, choice, given)


def _base(preset: str | None, choice: Choice) -> TrainConfig:
    """The configuration that the options change, its algorithm apart."""
    if choice.resume is not None and choice.config is not None:
        raise ConfigError("--resume goes on with a run, --config repeats one: give one of them.")
    if choice.resume is not None:
        if sources.is_shared(choice.resume):
            raise ConfigError(not_resumable(sources.spelled(choice.resume)))
        base = RunDir(choice.resume).read_config()
        named = str(choice.resume)
    elif choice.config is not None:
        base, named = read_config(choice.config), str(choice.config)
    else:
        return get_preset(preset)
    if preset is not None and preset != base.preset:
        raise ConfigError(f"{named} is of the preset {base.preset}, not {preset}.")
    return base


def _parse_options(
    base: TrainConfig, choice: Choice, arguments: list[str], preset: str | None
) -> tuple[RunOptions, Options]:
    """Read what becomes of the runs, and the configuration's options that were given."""
    shown = base
    if choice.algorithm is not None and choice.resume is None:
        shown = with_algorithm(base, choice.algorithm)
    if choice.outer is not None:
        shown = shown.with_outer(choice.outer)
    short = ALL not in arguments and {"-h", "--help"} & set(arguments)
    only = first_options(shown) if short else None
    options = dataclasses.make_dataclass(
        "TrainOptions",
        [
            ("choice", Annotated[Choice, tyro.conf.arg(name="")], field(default=choice)),
            ("run", Annotated[RunOptions, tyro.conf.arg(name="")], field(default=RunOptions())),
            ("config_options", options_type(shown, only), field(default_factory=dict)),
        ],
    )
    parsed: Any = tyro.cli(
        options,
        args=["--help" if word == ALL else word for word in arguments],
        prog=f"rlmaml train {preset or ''}".strip(),
        description="Meta-train a model over a family of tasks."
        + f" What people change first is below; all there is, with {ALL}." * bool(short),
        config=STYLE,
    )
    return parsed.run, flat(parsed.config_options)


def _with_options(base: TrainConfig, choice: Choice, given: Options) -> TrainConfig:
    """The configuration with the algorithm chosen, and what was said about it.

    An algorithm's default overrides are made for the rest of the run, its length and step sizes for
    example, so they come after those options; and before what was said about the same.
    """
    if choice.outer is not None:
        given = given | {"outer": choice.outer}
    name = choice.algorithm
    if name is None or name == base.algorithm:
        return base.changed(given)
    if choice.resume is not None:
        raise ConfigError(f"{choice.resume} is a run of {base.algorithm}, not of {name}.")
    # The outer step and the algorithm's own settings may not go with the algorithm of before.
    late = ("outer", "outer_settings", "algorithm_settings")
    rest = {key: value for key, value in given.items() if key.partition(".")[0] not in late}
    own = {
        key.removeprefix("algorithm_settings."): value
        for key, value in given.items()
        if key.startswith("algorithm_settings.")
    }
    settings = from_dict(get_algorithm(name).Settings, own)
    return with_algorithm(base.changed(rest), name, settings).changed(given)
