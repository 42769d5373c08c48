"""The command line: rlmaml train | evaluate | render | report | export | list."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import tyro

from runners.config import REGISTRY, TrainConfig
from runners.errors import UsageError
from runners.presets import PRESETS

USAGE = """\
rlmaml: meta-learn control policies, and few-shot learners, with MAML

  rlmaml train PRESET [--out DIR] [options]   meta-train
  rlmaml train --resume DIR [options]         go on with a run
  rlmaml evaluate DIR [options]               adapt to held-out tasks; tables and plots
  rlmaml evaluate DIR [DIR ...] --against random pretrained oracle
                                              the same beside baselines, over several seeds
  rlmaml render DIR [--task NUMBER ...]       watch it: a video before and after adaptation
  rlmaml report DIR [DIR ...]                 one page to show: pictures, figures, how to repeat it
  rlmaml export DIR [FILE] [options]          adapt to one task, for stable-baselines3 or torch
  rlmaml list                                 the presets

`rlmaml train PRESET --help`, and the others with --help, explain every option.
"""

CONFIGURE = (tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands)


@dataclass(frozen=True)
class TrainOptions:
    """Meta-train a model over a family of tasks."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    out: Path | None = None
    """Run folder to make; runs/PRESET if not given."""
    resume: Path | None = None
    """Run folder to go on with, from its newest checkpoint."""
    init: Path | None = None
    """Checkpoint or run folder whose meta-parameters to start from."""
    seeds: tuple[int, ...] = ()
    """Train one run per seed, in DIR/seed-S, one after the other."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Adapt what was meta-trained to held-out tasks, and report how it does after each step."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders. Several are put in one table: those that differ by their seed alone as runs of
    one method."""
    against: tuple[str, ...] = ()
    """Baselines to compare with: random (untrained), pretrained (one policy for all tasks),
    oracle (it is shown the task). They are trained in DIR/baselines once."""
    out: Path | None = None
    """Folder for the comparison of several runs; the one they lie in together if not given."""
    tasks: int | None = None
    """Held-out tasks; 40, or 600 where a run learns from examples, if not given."""
    steps: int | None = None
    """Inner steps, the most; 3, or 10 where a run learns from examples, if not given."""
    episodes: int = 20
    """Episodes per task and step (runs on episodes)."""
    queries: int | None = None
    """Query examples per task, in classification per class (runs on examples); as in training if
    not given."""
    step_size: Annotated[float | None, tyro.conf.arg(aliases=["--inner-lr"])] = None
    """Size of the inner steps; as in training if not given."""
    halve_later_steps: bool = False
    """Make the steps after the first half as long as it, as the MAML paper does."""
    seed: int = 0
    """Draws the tasks and all randomness of the evaluation."""
    checkpoint: Path | None = None
    """Checkpoint folder, or `best`; the run's newest if not given."""
    device: str | None = None
    """Where adaptation runs; as in training if not given."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class RenderOptions:
    """Make a video of a task before adaptation and after it, side by side."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    task: tuple[float, ...] = ()
    """The task: a goal velocity, 0 or 1 for forward or backward, two numbers for a goal on the
    plane; several tasks are shown one after another. If not given, both directions, else a
    held-out task drawn by the seed."""
    steps: int = 1
    """Inner steps of the adaptation."""
    out: Path | None = None
    """An .mp4 or .gif; DIR/videos/task-TASK.mp4 if not given."""
    size: int = 480
    """Width and height of either picture, in pixels."""
    seed: int = 0
    """Draws the task, the episodes adapted to, the first state and the actions."""
    episodes: int = 20
    """Episodes for each inner step."""
    deterministic: bool = False
    """Take the likeliest actions instead of drawing them."""
    pretty: bool = False
    """Draw shadows, reflections and smooth edges, which is slow without a GPU."""
    checkpoint: Path | None = None
    """Checkpoint folder, or `best`; the run's newest if not given."""
    viewer: bool = False
    """Watch the adapted policy in MuJoCo's own window instead; needs a screen, writes nothing."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class ReportOptions:
    """Write a page, in one file, that shows what runs have learned."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders. Those that differ by their seed alone are runs of one method."""
    out: Path | None = None
    """The page; report.html in the run's folder, or in the one the runs lie in together, if not
    given."""
    videos: bool = True
    """Show the runs' videos, and draw one if there is none."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class ExportOptions:
    """Adapt what was meta-trained to one task, and write the policy for use elsewhere."""

    run: tyro.conf.Positional[Path]
    """Run folder (of a run on episodes)."""
    out: tyro.conf.Positional[Path | None] = None
    """File to write; in DIR/exports, named after the task, if not given."""
    to: Literal["sb3", "torch"] = "sb3"
    """A PPO model of stable-baselines3 (.zip), or a torch.export program (.pt2)."""
    task: tuple[float, ...] = ()
    """The task's numbers, such as a goal velocity; the policy before adaptation if not given."""
    steps: int | None = None
    """Inner steps; as in training if not given."""
    episodes: int | None = None
    """Episodes to play before each inner step; as in training if not given."""
    seed: int = 0
    """Draws the episodes, and the value network of a PPO model."""
    checkpoint: Path | None = None
    """Checkpoint folder, or `best`; the run's newest if not given."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0, 2 (bad input), 130/143 (stopped, saved)."""
    words = sys.argv[1:] if arguments is None else arguments
    commands = {
        "train": _train,
        "evaluate": _evaluate,
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
            raise UsageError(f"Unknown command {words[0]!r}: use {', '.join(commands)}.")
    except (UsageError, FloatingPointError) as problem:
        _refuse(problem)
    except BrokenPipeError:  # `rlmaml evaluate DIR | head`: the rest of the output is not wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as problem:
        from runners.worlds import image_error

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
    default = _default_config(name, _value_of(words, "--resume"))
    options = _parse(
        TrainOptions, TrainOptions(default), words[1:] if name else words, f"train {name or ''}"
    )
    from runners import train
    from runners.runfolder import RunFolder

    if options.resume is not None:
        for flag in ("out", "init", "seeds"):
            if getattr(options, flag):
                raise UsageError(f"--resume goes on with a run where it is: leave out --{flag}.")
        _learning_curve(
            train.resume(RunFolder(options.resume), options.config, quiet=options.quiet)
        )
        return
    out = options.out or Path("runs") / options.config.preset
    runs = {out: options.config}
    if options.seeds:
        runs = {out / f"seed-{seed}": _with_seed(options.config, seed) for seed in options.seeds}
    for place in runs:  # all of them before hours are spent on the first
        RunFolder(place).check_free()
    for place, config in runs.items():
        _learning_curve(train.train(config, place, init=options.init, quiet=options.quiet))


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    try:
        return dataclasses.replace(config, seed=seed)
    except ValueError as problem:
        raise UsageError(str(problem)) from problem


def _default_config(preset: str | None, resume: str | None) -> TrainConfig:
    """What the options on the command line change: a preset, or the resumed run's settings."""
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"Unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    if resume is None:
        if preset is None:
            raise UsageError(f"Name a preset ({', '.join(PRESETS)}) or a run to --resume.")
        return PRESETS[preset][1]
    from runners.runfolder import RunFolder

    stored = RunFolder(Path(resume)).read_config()
    if preset is not None and preset != stored.preset:
        raise UsageError(f"{resume} is a run of the preset {stored.preset}, not {preset}.")
    return stored


def _evaluate(words: list[str]) -> None:
    options = _parse(EvaluateOptions, None, words, "evaluate")
    if not options.runs:
        raise UsageError("Name a run folder to evaluate: rlmaml evaluate DIR [DIR ...].")
    from runners import baselines, compare, evaluate, plots
    from runners.runfolder import RunFolder

    folders = [RunFolder(path) for path in options.runs]
    settings = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in ("runs", "against", "out")
    }
    against = baselines.check_names(options.against)
    if against or len(folders) > 1:
        result = compare.compare(folders, against=against, out=options.out, **settings)
        print(compare.table(result))
        out = Path(result["folder"])
        plots.comparison(result, out / "plots" / "comparison.png", result["preset"])
        print(f"Written: {out}/comparison.json, comparison.csv, plots/comparison.png")
        return
    if options.out is not None:
        raise UsageError("--out is for comparisons; one run is evaluated into its own folder.")
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


def _render(words: list[str]) -> None:
    options = _parse(RenderOptions, None, words, "render")
    from runners import render, viewer
    from runners.runfolder import RunFolder

    settings = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in ("run", "viewer")
    }
    folder = RunFolder(options.run)
    if options.viewer:
        if options.out is not None:
            raise UsageError("--viewer writes nothing: leave out --out.")
        for name in ("out", "size", "pretty", "quiet"):
            settings.pop(name)
        viewer.watch(folder, **settings)
        return
    print(render.summary(render.record(folder, **settings)))


def _report(words: list[str]) -> None:
    options = _parse(ReportOptions, None, words, "report")
    if not options.runs:
        raise UsageError("Name a run folder to report on: rlmaml report DIR [DIR ...].")
    from runners import report
    from runners.runfolder import RunFolder

    folders = [RunFolder(path) for path in options.runs]
    out = report.report(folders, out=options.out, videos=options.videos, quiet=options.quiet)
    print(f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _export(words: list[str]) -> None:
    options = vars(_parse(ExportOptions, None, words, "export"))
    from runners.export import export
    from runners.runfolder import RunFolder

    print(export(RunFolder(options.pop("run")), **options))


def _learning_curve(folder) -> None:
    from runners import plots

    metrics = folder.read_metrics()
    if metrics:
        plots.learning_curve(metrics, folder.plots / "learning.png", folder.read_config().preset)


def _list(words: list[str]) -> None:
    if words:
        raise UsageError(f"`rlmaml list` takes no arguments, got {' '.join(words)}.")
    width = max(map(len, PRESETS))
    for name, (what, config) in PRESETS.items():
        data = f"{config.episodes} x {config.horizon}"
        if config.data == "examples":
            data = f"({config.examples.shots} + {config.examples.queries})"
        size = f"{config.tasks} x {data}, {config.iterations} iterations"
        print(f"{name:<{width}}  {what} ({size})")


def _parse(kind: type, default, words: list[str], command: str):
    """tyro, with what it and our dataclasses refuse turned into one-line errors."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                kind,
                default=default,
                args=words,
                prog=f"rlmaml {command}".strip(),
                config=CONFIGURE,
                registry=REGISTRY,
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        lines = [line.strip(" │╭╮╰╯─-") for line in said.getvalue().splitlines()]
        lines = [line for line in lines if line and "--help" not in line]  # the first is a title
        raise UsageError(f"{' '.join(lines[1:])} (rlmaml {command} --help)") from None
    except ValueError as problem:
        raise UsageError(str(problem)) from problem


def _value_of(words: list[str], flag: str) -> str | None:
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return None
