"""What the commands can be told: a dataclass each, a sentence per option, read by tyro."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rlmaml.errors import ConfigError

# A run's settings are all `--name value`; what else is true or false is `--name` alone.
CONFIGURE = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)


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
    deterministic: bool = False
    """Report the return of likeliest actions (runs on episodes); adaptation draws its own."""
    seed: int = 0
    """Draws the tasks and all randomness of the evaluation."""
    checkpoint: Path | None = None
    """Checkpoint folder, or `best`; the run's newest if not given."""
    device: str | None = None
    """Where adaptation runs; as in training if not given."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class CompareOptions:
    """Train every method on one problem, on as much data each, and put them in one table."""

    algorithms: tuple[str, ...] = ()
    """Methods, by name or MODULE:CLASS; all that apply if not given."""
    iterations: int | None = None
    """Meta-iterations of the preset's own method, which set the budget; as in the preset if not
    given."""
    seeds: tuple[int, ...] = (0,)
    """Train each method once per seed."""
    tasks: int | None = None
    """Held-out tasks; 40, or 600 where a run learns from examples, if not given."""
    out: Path | None = None
    """Folder of all runs; runs/compare-PRESET if not given. What is trained there is kept, and an
    interrupted comparison goes on."""
    device: str | None = None
    """Where learning runs; as in the preset if not given."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class ReproduceOptions:
    """Train a ROW of the MAML paper's table and measure it as its authors did: paper-point,
    paper-half-cheetah-vel, paper-half-cheetah-dir, paper-ant-vel or paper-ant-dir, with its
    authors' settings; cheetahs and ants with -ours at the end have ours. Called again, it goes on
    where it was."""

    seeds: int = 3
    """Meta-train with seeds 0, 1 ... so many."""
    baseline_seeds: int = 1
    """Train the baselines (pre-trained, oracle; random is untrained) of the first so many."""
    out: Path = Path("runs/paper")
    """Folder of all rows; table.md in it has those that there are."""
    measure_only: bool = False
    """Train nothing: measure the checkpoints that there are."""
    device: str | None = None
    """Where learning runs; as in the preset if not given."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class TheoryOptions:
    """Measure the convergence analysis of MAML on problems of which every constant is known: the
    estimator's moments, iterations against precision, who stalls, and the rule in practice."""

    out: Path = Path("runs/theory")
    """Folder for theory.json and the pictures."""
    only: tuple[Literal["moments", "iterations", "stalls", "practice"], ...] = ()
    """Parts; all of them if not given."""
    steps: int = 12_000
    """Gradient steps of `iterations`."""
    practice_iterations: int = 500
    """Meta-iterations of `practice`."""
    seed: int = 0
    """Of samples in `iterations`, and of training in `practice`."""


@dataclass(frozen=True)
class RenderOptions:
    """Make a video of a task before adaptation and after it, side by side."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    task: tuple[float, ...] = ()
    """The task: a goal velocity, 0 or 1 for forward or backward, two numbers for a goal on the
    plane; several tasks are shown one after another. If not given, both directions, else a
    held-out task drawn by the seed."""
    steps: int | None = None
    """Inner steps of the adaptation; as in training if not given."""
    out: Path | None = None
    """An .mp4 or .gif; DIR/videos/task-TASK-steps-K.mp4 if not given."""
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
    device: str | None = None
    """Where evaluations that are missing are made; as in training if not given."""
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


def parse(kind: type, default, words: list[str], command: str):
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
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        lines = [line.strip(" │╭╮╰╯─-") for line in said.getvalue().splitlines()]
        lines = [line for line in lines if line and "--help" not in line]  # the first is a title
        raise ConfigError(f"{' '.join(lines[1:])} (rlmaml {command} --help)") from None
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem


import dataclasses
from typing import Any


def evaluate(words) -> None:
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


def compare(words) -> None:
    name = None if not words or words[0].startswith("-") else words[0]
    options = parse(CompareOptions, None, words[1:] if name else words, "compare")
    config = __import__("runners.presets").presets.get_preset(name)
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


def reproduce(words) -> None:
    name = None if not words or words[0].startswith("-") else words[0]
    options = parse(ReproduceOptions, None, words[1:] if name else words, "reproduce")
    from runners.studies import reproduce

    if name is None:
        raise ConfigError(f"Name a row of the paper: {', '.join(reproduce.NAMES)}.")
    result = reproduce.reproduce(name, **vars(options))
    print(reproduce.table([result]))
    print(f"Written: {options.out / name}/reproduction.json, learning.png; {options.out}/table.md")


def theory(words) -> None:
    options = parse(TheoryOptions, None, words, "theory")
    from runners.studies.convergence.study import theory

    theory(**vars(options))
    print(f"\nWritten: {options.out}/theory.json and a picture of each part.")


def render(words) -> None:
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


def report(words) -> None:
    options = parse(ReportOptions, None, words, "report")
    if not options.runs:
        raise ConfigError("Name a run folder to report on: rlmaml report DIR [DIR ...].")
    from runners.reporting import report
    from runners.run_dir import RunDir

    folders = [RunDir(path) for path in options.runs]
    out = report.report(folders, **_without(options, "runs"))
    print(f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def export(words) -> None:
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
