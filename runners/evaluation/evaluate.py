"""`rlmaml evaluate`: a run on tasks never seen, or several beside one another and baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from rlmaml import processes
from rlmaml.errors import ConfigError
from runners.errors import UnwrittenError
from runners.evaluation import answers, plots
from runners.evaluation.baselines import Baseline
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import Given, measure
from runners.evaluation.results import Comparison, Evaluation
from runners.opening import opened
from runners.run_dir import RunDir
from runners.training.plots import learning_curve


def evaluate(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    config: Annotated[EvalConfig, tyro.conf.arg(name="")] = EvalConfig(),  # noqa: B008 - frozen
    *,
    against: tuple[Baseline, ...] = (),
    pretrained_step_sizes: tuple[float, ...] = (),
    out: Path | None = None,
    quiet: bool = False,
) -> Evaluation | Comparison:
    """Adapt what was meta-trained to held-out tasks; tables and plots.

    Args:
        runs: Run folders, or what else runs are named by (NAME, hf://USER/NAME). Several are put in
            one table: those that differ by their seed alone as runs of one method.
        config: What to draw and how to adapt.
        against: Baselines to compare with: random (untrained), pretrained (one policy for all
            tasks), oracle (it is shown the task). They are trained in DIR/baselines once.
        pretrained_step_sizes: Inner step sizes to try for `pretrained`; the table has the one that
            is best on these very tasks, after as many steps as suit it.
        out: Folder for the comparison of several runs; the one they lie in together if not given.
        quiet: Show no progress.

    Returns:
        The evaluation of one run, or the comparison of several or with baselines.

    Raises:
        ConfigError: no run, or what `evaluate_run` and `compare_runs` raise.
    """
    if not runs:
        raise ConfigError("Name a run folder to evaluate: rlmaml evaluate DIR [DIR ...].")
    processes.join(timeout=1800)
    folders = [opened(path) for path in runs]
    if against or pretrained_step_sizes or len(folders) > 1:
        return compare_runs(
            folders,
            config,
            against=against,
            pretrained_step_sizes=pretrained_step_sizes,
            out=out,
            quiet=quiet,
        )
    if out is not None:
        raise ConfigError("--out is for comparisons; one run is evaluated into its own folder.")
    return evaluate_run(folders[0], config, quiet=quiet)


def evaluate_run(
    folder: RunDir,
    config: EvalConfig | None = None,
    *,
    tasks: Given | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Evaluate a run, and write `evaluation.json`, `evaluation.csv` and plots into its folder.

    The learning curve is among the plots, since a run that was killed has none yet.

    Args:
        folder: the run.
        config: what to draw and how to adapt; its defaults if None.
        tasks: the tasks themselves, `[N, *task_space.shape]` or a list of N; drawn if None.
        quiet: show no progress.

    Raises:
        ConfigError: bad input.
        ValueError: tasks that the family does not have.
        FloatingPointError: a policy's parameters that have blown up.
        UnwrittenError: a folder that cannot be written to; with the evaluation.
    """
    result = measure(folder, config, tasks=tasks, quiet=quiet)
    if not processes.is_first():
        return result
    try:
        result = result.save(folder.evaluation)
        _draw(folder, result)
    except (ConfigError, OSError) as problem:
        raise UnwrittenError(problem, result) from problem
    return result


def _draw(folder: RunDir, result: Evaluation) -> None:
    if metrics := folder.read_metrics():
        learning_curve(metrics, folder.plots / "learning.png", result.preset)
    plots.adaptation_curve(result, folder.plots / "adaptation.png", result.preset)
    if result.metric == "return":
        plots.per_task(result, folder.plots / "tasks.png", result.preset)
    if result.fits:
        plots.fits(result, folder.plots / "fits.png", result.preset)
    picture = folder.plots / "answers.png"
    picture.unlink(missing_ok=True)  # of an evaluation of before
    if result.answers is not None:
        answers.draw(result.answers, picture, result.preset)
