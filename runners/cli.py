"""The command line: rlmaml COMMAND, of which `USAGE` has the list."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from rlmaml import algorithms
from rlmaml.errors import ConfigError
from runners.config import TrainConfig
from runners.options import (
    CompareOptions,
    EvaluateOptions,
    ExportOptions,
    RenderOptions,
    ReportOptions,
    ReproduceOptions,
    TheoryOptions,
    TrainOptions,
    parse,
)
from runners.presets import PRESETS

USAGE = """\
rlmaml: meta-learn control policies, and few-shot learners, with MAML

  rlmaml train PRESET [--out DIR] [options]   meta-train
  rlmaml train --resume DIR [options]         go on with a run
  rlmaml evaluate DIR [options]               adapt to held-out tasks; tables and plots
  rlmaml evaluate DIR [DIR ...] --against random pretrained oracle
                                              the same beside baselines, over several seeds
  rlmaml compare PRESET [options]             train every method on it; one table
  rlmaml reproduce ROW [--seeds N] [options]  a row of the MAML paper's table, beside its figures
  rlmaml theory [--only PART ...]             the convergence analysis, measured
  rlmaml render DIR [--task NUMBER ...]       watch it: a video before and after adaptation
  rlmaml report DIR [DIR ...]                 one page to show: pictures, figures, how to repeat it
  rlmaml export DIR [FILE] [options]          adapt to one task, for stable-baselines3 or torch
  rlmaml list                                 the presets and the methods

`rlmaml train PRESET --help`, and the others with --help, explain every option.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0, 2 (bad input), 130/143 (stopped, saved)."""
    words = sys.argv[1:] if arguments is None else arguments
    if os.getcwd() not in sys.path:  # methods of one's own, which the console script would not find
        sys.path.append(os.getcwd())
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "compare": _compare,
        "reproduce": _reproduce,
        "theory": _theory,
        "render": _render,
        "report": _report,
        "export": _export,
        "list": _list,
    }
    try:
        if not words or words[0] in ("-h", "--help"):
            print(USAGE)
        elif words[0] in commands:
            commands[words[0]](words[1:])
        else:
            raise ConfigError(f"Unknown command {words[0]!r}: use {', '.join(commands)}.")
    except (ConfigError, FloatingPointError) as problem:
        _refuse(problem)
    except BrokenPipeError:  # `rlmaml evaluate DIR | head`: the rest of the output is not wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as problem:
        from runners.environments import image_error

        if not isinstance(problem, image_error()):
            raise
        _refuse(problem)


def _refuse(problem: Exception) -> NoReturn:
    print(f"rlmaml: {problem}", file=sys.stderr)
    raise SystemExit(2) from None


def _train(words: list[str]) -> None:
    if not words or (words[0] in ("-h", "--help")):
        print(USAGE)
        return _list([])
    name = None if words[0].startswith("-") else words[0]
    given, command = words[1:] if name else words, f"train {name or ''}"
    default = _default_config(name, _value_of(words, "--resume"))
    default = _with_method(default, given, command)
    options = parse(TrainOptions, TrainOptions(default), given, command)
    from runners.run_dir import RunDir
    from runners.training import train

    if options.resume is not None:
        for flag in ("out", "init", "seeds"):
            if getattr(options, flag):
                raise ConfigError(f"--resume goes on with a run where it is: leave out --{flag}.")
        _learning_curve(train.resume(RunDir(options.resume), options.config, quiet=options.quiet))
        return
    out = options.out or Path("runs") / options.config.preset
    runs = {out: options.config}
    if options.seeds:
        runs = {out / f"seed-{seed}": _with_seed(options.config, seed) for seed in options.seeds}
    for place in runs:  # all of them before hours are spent on the first
        RunDir(place).check_free()
    for place, config in runs.items():
        _learning_curve(train.train(config, place, init=options.init, quiet=options.quiet))


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    try:
        return dataclasses.replace(config, seed=seed)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem


def _default_config(preset: str | None, resume: str | None) -> TrainConfig:
    """What the options on the command line change: a preset, or the resumed run's settings."""
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"Unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    if resume is None:
        if preset is None:
            raise ConfigError(f"Name a preset ({', '.join(PRESETS)}) or a run to --resume.")
        return PRESETS[preset][1]
    from runners.run_dir import RunDir

    stored = RunDir(Path(resume)).read_config()
    if preset is not None and preset != stored.preset:
        raise ConfigError(f"{resume} is a run of the preset {stored.preset}, not {preset}.")
    return stored


def _with_method(config: TrainConfig, words: list[str], command: str) -> TrainConfig:
    """What the options on the command line change where a method is chosen there.

    A method has settings of its own and brings what it usually has different, some of it made for
    the run's length, step sizes and so on. So options are read twice: to know what it is for, and
    then for what they have to say about the result.
    """
    name = _value_of(words, "--algorithm")
    if name in (None, config.algorithm) or _value_of(words, "--resume") is not None:
        return config
    try:
        first = config.with_algorithm(name)
        given = parse(TrainOptions, TrainOptions(first), words, command).config
        told = first.differing(given)
        told = {
            option: value
            for option, value in told.items()
            if not option.startswith("algorithm_settings")
        }
        return config.changed(told).with_algorithm(name, given.algorithm_settings)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem


def _evaluate(words: list[str]) -> None:
    options = parse(EvaluateOptions, None, words, "evaluate")
    if not options.runs:
        raise ConfigError("Name a run folder to evaluate: rlmaml evaluate DIR [DIR ...].")
    from runners.evaluation import baselines, compare_runs, evaluate, grouping, plots
    from runners.run_dir import RunDir

    folders = [RunDir(path) for path in options.runs]
    settings = _without(options, "runs", "against", "out")
    against = baselines.check_names(options.against)
    if against or len(folders) > 1:
        result = compare_runs.compare(folders, against=against, out=options.out, **settings)
        print(compare_runs.table(result))
        out = options.out or grouping.common_folder(list(options.runs))
        plots.comparison(result, out / "plots" / "comparison.png", result["preset"])
        print(f"Written: {out}/comparison.json, comparison.csv, plots/comparison.png")
        return
    if options.out is not None:
        raise ConfigError("--out is for comparisons; one run is evaluated into its own folder.")
    (folder,) = folders
    result = evaluate.evaluate(folder, **settings)
    print(evaluate.table(result))
    _learning_curve(folder)
    plots.adaptation_curve(result, folder.plots / "adaptation.png", result["preset"])
    if result["metric"] == "return":
        plots.per_task(result, folder.plots / "tasks.png", result["preset"])
    if result["fits"]:
        plots.fits(result, folder.plots / "fits.png", result["preset"])
    print(f"Written: {folder.evaluation}, evaluation.csv, {folder.plots}/*.png")


def _compare(words: list[str]) -> None:
    name = None if not words or words[0].startswith("-") else words[0]
    options = parse(CompareOptions, None, words[1:] if name else words, "compare")
    config = _default_config(name, None)
    changed = {"iterations": options.iterations, "device": options.device}
    changed = {option: value for option, value in changed.items() if value is not None}
    from runners.errors import require_at_least
    from runners.evaluation import compare_algorithms

    require_at_least(1, seeds=len(options.seeds), iterations=changed.get("iterations", 1))
    result = compare_algorithms.compare(
        dataclasses.replace(config, **changed),
        options.out or Path("runs") / f"compare-{config.preset}",
        names=options.algorithms,
        **_without(options, "algorithms", "iterations", "device", "out"),
    )
    print(compare_algorithms.table(result))


def _reproduce(words: list[str]) -> None:
    name = None if not words or words[0].startswith("-") else words[0]
    options = parse(ReproduceOptions, None, words[1:] if name else words, "reproduce")
    from runners.studies import reproduce

    if name is None:
        raise ConfigError(f"Name a row of the paper: {', '.join(reproduce.NAMES)}.")
    result = reproduce.reproduce(name, **vars(options))
    print(reproduce.table([result]))
    print(f"Written: {options.out / name}/reproduction.json, learning.png; {options.out}/table.md")


def _theory(words: list[str]) -> None:
    options = parse(TheoryOptions, None, words, "theory")
    from runners.studies.convergence.study import theory

    theory(**vars(options))
    print(f"\nWritten: {options.out}/theory.json and a picture of each part.")


def _render(words: list[str]) -> None:
    options = parse(RenderOptions, None, words, "render")
    from runners.rendering import video, viewer
    from runners.run_dir import RunDir

    folder = RunDir(options.run)
    if options.viewer:
        if options.out is not None:
            raise ConfigError("--viewer writes nothing: leave out --out.")
        viewer.watch(folder, **_without(options, "run", "viewer", "out", "size", "pretty", "quiet"))
        return
    print(video.summary(video.record(folder, **_without(options, "run", "viewer"))))


def _report(words: list[str]) -> None:
    options = parse(ReportOptions, None, words, "report")
    if not options.runs:
        raise ConfigError("Name a run folder to report on: rlmaml report DIR [DIR ...].")
    from runners.reporting import report
    from runners.run_dir import RunDir

    folders = [RunDir(path) for path in options.runs]
    out = report.report(folders, **_without(options, "runs"))
    print(f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _export(words: list[str]) -> None:
    options = parse(ExportOptions, None, words, "export")
    from runners.export.export import export
    from runners.run_dir import RunDir

    print(export(RunDir(options.run), **_without(options, "run")))


def _without(options: Any, *names: str) -> dict[str, Any]:
    """Options as keyword arguments, but for some."""
    return {name: value for name, value in vars(options).items() if name not in names}


def _learning_curve(folder) -> None:
    from runners.evaluation import plots

    metrics = folder.read_metrics()
    if metrics:
        plots.learning_curve(metrics, folder.plots / "learning.png", folder.read_config().preset)


def _list(words: list[str]) -> None:
    if words:
        raise ConfigError(f"`rlmaml list` takes no arguments, got {' '.join(words)}.")
    width = max(map(len, PRESETS))
    for name, (what, config) in PRESETS.items():
        data = f"{config.episodes} x {config.horizon}"
        if config.data == "examples":
            data = f"({config.examples.shots} + {config.examples.queries})"
        size = f"{config.tasks} x {data}, {config.iterations} iterations"
        print(f"{name:<{width}}  {what} ({size})")
    print(f"\nMethods (--algorithm): {', '.join(algorithms.TABLE)}")


def _value_of(words: list[str], flag: str) -> str | None:
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return None
