"""One page to show what runs have learned: self-contained HTML, light or dark, on any screen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners import formatting
from runners.evaluation import grouping, plots
from runners.evaluation.baselines import BASELINES
from runners.evaluation.tables import comparison_table, evaluation_table, kinds_table
from runners.io import versions, write_text
from runners.presets import PRESETS
from runners.rendering import video
from runners.reporting import figures, provenance
from runners.reporting.report_data import Evidence, gather
from runners.run_dir import RunDir


def report(
    folders: list[RunDir],
    *,
    out: Path | None = None,
    videos: bool = True,
    device: str | None = None,
    quiet: bool = False,
) -> Path:
    """Write a page on one run, or on several that are compared or are seeds of one method.

    What is missing is made: evaluations, for several runs their comparison, and a video if it can
    be drawn here. Baselines are shown if they have been compared with (`runners.compare`).

    Args:
        folders: the runs.
        out: the page; report.html in the run's folder, or in the one the runs lie in together, if
            None.
        videos: show those in the runs' videos/, and render one if there are none.
        device: for evaluations that are missing; the runs' own if None.
        quiet: show no progress.

    Returns:
        Where the page is.

    Raises:
        ConfigError: not a run folder, nothing trained, runs that cannot be compared, or a page that
            cannot be written.
    """
    out = out or grouping.common_folder([folder.path for folder in folders]) / "report.html"
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file, such as {out / 'report.html'}.")
    evidence = gather(folders, out.parent, device=device, quiet=quiet)
    page = _page(evidence, _videos(evidence, quiet) if videos else None)
    try:
        write_text(out, page)
    except OSError as problem:
        raise ConfigError(f"Cannot write {out}: {problem.strerror}.") from problem
    return out


@dataclass(frozen=True)
class Card:
    """A headline figure."""

    label: str
    value: str
    note: str = ""
    badge: str = ""
    main: bool = False


def _page(evidence: Evidence, shown: figures.Videos | None) -> str:
    config, result = evidence.config, evidence.result
    preset = PRESETS.get(config.preset)
    methods = evidence.comparison["methods"] if evidence.comparison else {}
    groups = [result, *result["groups"].values(), *methods.values()]
    decimals = formatting.digits(
        result["metric"], [value for each in groups for value in each["mean"]]
    )
    against = [name for name in BASELINES if name in methods]
    settings = provenance.settings(config)
    used = _versions(evidence)
    k = min(config.inner.steps, result["steps"][-1])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runners.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        config=config,
        title=preset[0] if preset else f"{config.preset}: {config.env.id}",
        trained=formatting.trained(config, evidence.metrics, evidence.seeds),
        achieved=formatting.achieved(config, result, decimals),
        beside=formatting.beside(methods, k, decimals),
        note=result["note"],
        warnings=evidence.warnings,
        main=evidence.main if len(evidence.methods) > 1 else None,
        differing=sum(row.special for row in settings),
        cards=_cards(evidence, decimals),
        videos=shown,
        adaptation=_adaptation(evidence, decimals),
        against=against,
        learning=_learning(evidence),
        per_task=_per_task(evidence, decimals),
        kinds=kinds_table(evidence.result, decimals),
        fits=_fits(evidence),
        table=comparison_table(evidence.comparison, decimals)
        if evidence.comparison
        else evaluation_table(result, evidence.main if config.inner.steps else "trained", decimals),
        held_out=_held_out(result),
        unseen=not result["groups"],
        runs=len(evidence.seeds),
        settings=settings,
        notable=[row for row in settings if row.notable],
        base=provenance.base(config),
        mean=formatting.MEANS[result["metric"]],
        noun=formatting.NOUNS[result["metric"]],
        direction=f"{'Lower' if result['metric'] == 'mse' else 'Higher'} is better.",
        versions=used,
        several_versions=any(trained != evaluated for _, trained, evaluated in used),
        commands=_commands(evidence, against, bool(shown and shown.shown)),
        compare=f"rlmaml evaluate {' '.join(evidence.places)} --against random pretrained oracle",
        render=_render_command(evidence),
        made_with=versions()["rlmaml"],
    )


def _cards(evidence: Evidence, decimals: int) -> list[Card]:
    """The score before adaptation, after one step, after as many as trained for, the best, last."""
    result, config = evidence.result, evidence.config
    last = len(result["mean"]) - 1
    finite = [k for k in range(last + 1) if np.isfinite(result["mean"][k])] or [0]
    pick = min if result["metric"] == "mse" else max
    best = pick(finite, key=lambda k: result["mean"][k])
    # It is meant to be shown what it was trained for, whatever else may be better.
    meant = min(config.inner.steps, last)
    cards = []
    for k in sorted({0, min(1, last), meant, best, last}):
        badges = ["what it is trained for"] if k == config.inner.steps else []
        badges += ["best"] if k == best and last else []
        cards.append(
            Card(
                label=f"after {formatting.steps(k)}" if k else "before adaptation",
                value=formatting.number(result["mean"][k], decimals),
                note=evidence.interval(k, decimals),
                badge=", ".join(badges),
                main=k == meant,
            )
        )
    gap = result.get("gap_closed")
    if gap is not None and np.isfinite(gap[meant]):
        cards.append(
            Card(
                "of the gap to the oracle closed",
                f"{gap[meant]:.0%}".replace("-", "−"),
                f"after {formatting.steps(meant)}",
            )
        )
    return cards


def _held_out(result: dict[str, Any]) -> str:
    """What the scores are of, in words."""
    said = f"{len(result['per_task'])} tasks"
    if result["groups"]:
        said += f" of the {len(result['groups'])} kinds that there are, seen in training"
    else:
        said += " never seen in training"
    if result["episodes"]:
        return f"{said}, {result['episodes']} fresh episodes per task and step"
    each = " per class" if result["metric"] == "accuracy" else ""
    return (
        f"{said}, each learned from {result['shots']} examples{each} and scored on "
        f"{result['queries']} others"
    )


def _adaptation(evidence: Evidence, decimals: int) -> figures.Picture:
    result = evidence.result
    if evidence.comparison is None:
        curves = {"all tasks": result["mean"]}
        curves |= {formatting.kind(name): group["mean"] for name, group in result["groups"].items()}
        draw, data = plots.adaptation_curve, result
        caption = "Mean over tasks, with its 95 % interval"
    else:
        data, draw = evidence.comparison, plots.comparison
        curves = {name: method["mean"] for name, method in data["methods"].items()}
        caption = "Mean over tasks with its 95 % interval"
        if len(evidence.seeds) > 1:
            caption = "Mean over runs and tasks with its 95 % interval; thin lines are single runs"
    alt = formatting.adaptation_alt(result["metric"], curves, data["steps"], decimals)
    return figures.picture(draw, data, alt=alt, caption=caption)


def _learning(evidence: Evidence) -> figures.Picture | None:
    metrics = evidence.mean_metrics()
    if not metrics:
        return None
    runs = evidence.curves() if len(evidence.metrics) > 1 else ()
    caption = "On the tasks of each meta-iteration, drawn anew"
    if runs:
        caption += f": mean over {len(runs)} runs; thin lines are single runs"
    alt = formatting.learning_alt(evidence.result["metric"], metrics, evidence.config)
    return figures.picture(plots.learning_curve, metrics, alt=alt, caption=caption, runs=runs)


def _per_task(evidence: Evidence, decimals: int) -> figures.Picture | None:
    result = evidence.result
    if result["metric"] != "return":
        return None
    caption = "A point is a task: its mean over " + "runs and " * (len(evidence.seeds) > 1)
    return figures.picture(
        plots.per_task,
        result,
        alt=formatting.tasks_alt(result, decimals),
        caption=f"{caption}episodes",
    )


def _fits(evidence: Evidence) -> figures.Picture | None:
    result = evidence.evaluations[0]
    if not result["fits"]:
        return None
    of = f" (seed {evidence.seeds[0]})" if len(evidence.seeds) > 1 else ""
    return figures.picture(
        plots.fits,
        result,
        alt=formatting.fits_alt(result),
        caption=f"Tasks never seen, and the curves that the model fits to them{of}",
        columns=2,
    )


def _videos(evidence: Evidence, quiet: bool) -> figures.Videos | None:
    """Those of the runs, one drawn now if there is none; None where there is nothing to see."""
    folders = evidence.main_folders
    places = [folder.path / "videos" for folder in folders]
    # What was drawn before training went on is not what the run has learned.
    since = [checkpoint.latest(folder.checkpoints).stat().st_mtime for folder in folders]
    found = figures.videos(places, since)
    if found.shown or found.left_out:
        return found
    if evidence.config.data == "examples":
        return None
    _render(folders[0], quiet)
    return figures.videos(places, since)


def _render(folder: RunDir, quiet: bool) -> None:
    """Draw a video of a run, if that can be done.

    A page is worth having without one, so whatever hinders it (no OpenGL, nothing to draw) is said
    and no more.
    """
    try:
        video.render(folder.path, quiet=quiet)
    except Exception as problem:
        if not quiet:
            print(f"No video: {type(problem).__name__}: {problem}", file=sys.stderr)


def _versions(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Name, version in training, version in evaluation."""
    trained = evidence.origins[0]["versions"] or {}
    evaluated = (evidence.comparison or evidence.evaluations[0])["versions"]
    names = dict.fromkeys((*trained, *evaluated))
    return [(name, trained.get(name, "unknown"), evaluated.get(name, "unknown")) for name in names]


def _render_command(evidence: Evidence) -> str:
    return f"rlmaml render {evidence.places[0]}"


def _commands(evidence: Evidence, against: list[str], seen: bool) -> list[str]:
    """What makes the page again, from nothing."""
    commands = evidence.train_commands()
    made = evidence.comparison or evidence.evaluations[0]
    commands.append(provenance.evaluate_command(evidence.config, made, evidence.places, against))
    if seen:
        commands.append(_render_command(evidence))
    commands.append(f"rlmaml report {' '.join(evidence.places)}")
    return commands
