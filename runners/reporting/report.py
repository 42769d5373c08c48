"""`rlmaml report`: one page to show what runs have learned, light or dark, on any screen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
import tyro

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners import formatting
from runners.evaluation import grouping, plots
from runners.evaluation.baselines import BASELINES
from runners.io import versions, write_text
from runners.opening import opened
from runners.presets import PRESETS
from runners.rendering import video
from runners.reporting import figures, provenance, sentences
from runners.reporting.figures import EmbeddedFigure, Videos
from runners.reporting.report_data import ReportData, gather
from runners.reporting.score_tables import evaluation_table, kinds_table
from runners.run_dir import RunDir
from runners.training.plots import learning_curve

Context = dict[str, object]
"""Names that the template uses, with their values."""


@dataclass(frozen=True)
class Report:
    """A page that was written."""

    path: Path

    def __str__(self) -> str:
        return f"Written: {self.path} ({self.path.stat().st_size / 1e6:.1f} MB)"


@dataclass(frozen=True)
class Card:
    """A headline figure."""

    label: str
    value: str
    note: str = ""
    badge: str = ""
    main: bool = False


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path | None = None,
    videos: bool = True,
    device: str | None = None,
    quiet: bool = False,
) -> Report:
    """Write a page, in one file, that shows what runs have learned.

    What is missing is made: evaluations, for several runs their comparison, and a video if it can
    be drawn here. Baselines are shown if the runs have been compared with them.

    Args:
        runs: Run folders, or what else runs are named by (NAME, hf://USER/NAME). Those that differ
            by their seed alone are runs of one method.
        out: The page; report.html in the run's folder, or in the one the runs lie in together, if
            not given.
        videos: Videos of the runs, of which one is drawn if there is none; `--no-videos` leaves
            them out.
        device: Where evaluations that are missing are made; as in training if not given.
        quiet: Show no progress.

    Raises:
        ConfigError: no run, not a run folder, nothing trained, runs that cannot be compared, or a
            page that cannot be written.
    """
    if not runs:
        raise ConfigError("Name a run folder to report on: rlmaml report DIR [DIR ...].")
    folders = [opened(path) for path in runs]
    out = out or grouping.common_folder([folder.path for folder in folders]) / "report.html"
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file, such as {out / 'report.html'}.")
    data = gather(folders, out.parent, device=device, quiet=quiet)
    write_text(out, _page(data, _videos(data, quiet) if videos else None))
    return Report(out)


def _page(data: ReportData, shown: Videos | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runners.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = _introduction(data) | _scores(data) | _settings(data) | _figures(data)
    context |= {"videos": shown, "made_with": versions()["rlmaml"]}
    context |= _commands(data, bool(shown and shown.shown))
    return environment.get_template("report.html").render(context)


def _introduction(data: ReportData) -> Context:
    """Say what was trained on what, and what came of it."""
    config, result = data.config, data.result
    preset = PRESETS.get(config.preset)
    methods = data.comparison.methods if data.comparison else {}
    steps = min(config.inner.steps, result.steps[-1])
    return {
        "config": config,
        "title": preset[0] if preset else f"{config.preset}: {config.env.id}",
        "trained": sentences.trained(config, data.metrics, data.seeds),
        "achieved": sentences.achieved(config, result, data.decimals),
        "beside": sentences.beside(methods, steps, data.decimals),
        "main": data.main if len(data.methods) > 1 else None,
        "runs": len(data.seeds),
        "warnings": data.warnings,
        "note": result.note,
        "held_out": sentences.held_out(result),
        "unseen": not result.groups,
        "mean": sentences.mean_noun(result.metric),
        "noun": formatting.NOUNS[result.metric],
        "direction": f"{'Higher' if result.higher_is_better else 'Lower'} is better.",
    }


def _scores(data: ReportData) -> Context:
    """Headline figures and tables."""
    if data.comparison is not None:
        table = data.comparison.table(data.decimals)
    else:
        name = data.main if data.config.inner.steps else "trained"
        table = evaluation_table(data.result, name, data.decimals)
    kinds = kinds_table(data.result, data.decimals)
    return {"cards": _cards(data), "table": table, "kinds": kinds}


def _cards(data: ReportData) -> list[Card]:
    """The score before adaptation, after one step, after as many as trained for, the best, last."""
    result, config = data.result, data.config
    last = len(result.mean) - 1
    finite = [k for k in range(last + 1) if np.isfinite(result.mean[k])] or [0]
    pick = max if result.higher_is_better else min
    best = pick(finite, key=lambda k: result.mean[k])
    # It is meant to be shown what it was trained for, whatever else may be better.
    meant = min(config.inner.steps, last)
    cards = []
    for k in sorted({0, min(1, last), meant, best, last}):
        badges = ["what it is trained for"] if k == config.inner.steps else []
        badges += ["best"] if k == best and last else []
        cards.append(
            Card(
                label=f"after {formatting.steps(k)}" if k else "before adaptation",
                value=formatting.number(result.mean[k], data.decimals),
                note=data.interval(k),
                badge=", ".join(badges),
                main=k == meant,
            )
        )
    gap = data.headline.gap_closed
    if gap is not None and np.isfinite(gap[meant]):
        after = f"after {formatting.steps(meant)}"
        cards.append(Card("of the gap to the oracle closed", formatting.share(gap[meant]), after))
    return cards


def _settings(data: ReportData) -> Context:
    """The configuration beside its preset and the defaults, and versions."""
    rows = provenance.settings(data.config)
    trained = data.versions[0]
    evaluated = (data.comparison or data.evaluations[0]).versions
    used = [
        (name, trained.get(name, "unknown"), evaluated.get(name, "unknown"))
        for name in dict.fromkeys((*trained, *evaluated))
    ]
    return {
        "settings": rows,
        "notable": [row for row in rows if row.notable],
        "differing": sum(row.special for row in rows),
        "base": provenance.base(data.config),
        "versions": used,
        "several_versions": any(before != after for _, before, after in used),
    }


def _commands(data: ReportData, seen: bool) -> Context:
    """List the commands that make the page again, from nothing.

    Args:
        data: of the report.
        seen: whether a video is shown.
    """
    against = [name for name in BASELINES if data.comparison and name in data.comparison.methods]
    made = data.comparison or data.evaluations[0]
    render = f"rlmaml render {data.names[0]}"
    commands = data.train_commands()
    commands.append(provenance.evaluate_command(made, data.names, against))
    commands += [render] if seen else []
    commands.append(f"rlmaml report {' '.join(data.names)}")
    return {
        "against": against,
        "commands": list(dict.fromkeys(commands)),
        "compare": f"rlmaml evaluate {' '.join(data.names)} --against random pretrained oracle",
        "render": render,
    }


def _figures(data: ReportData) -> Context:
    return {
        "adaptation": _adaptation(data),
        "learning": _learning(data),
        "per_task": _per_task(data),
        "fits": _fits(data),
    }


def _adaptation(data: ReportData) -> EmbeddedFigure:
    result = data.result
    if data.comparison is None:
        curves = {"all tasks": result.mean}
        curves |= {formatting.kind(name): group.mean for name, group in result.groups.items()}
        draw = partial(plots.adaptation_curve, result, title="")
        caption = "Mean over tasks, with its 95 % interval"
    else:
        curves = {name: method.mean for name, method in data.comparison.methods.items()}
        draw = partial(plots.comparison, data.comparison, title="")
        caption = "Mean over tasks with its 95 % interval"
        if len(data.seeds) > 1:
            caption = "Mean over runs with its 95 % interval over them; thin lines are single runs"
    alt = sentences.adaptation_alt(result.metric, curves, result.steps, data.decimals)
    return figures.embed(draw, alt=alt, caption=caption)


def _learning(data: ReportData) -> EmbeddedFigure | None:
    metrics = data.mean_metrics()
    if not metrics:
        return None
    runs = data.curves() if len(data.metrics) > 1 else ()
    caption = "On the tasks of each meta-iteration, drawn anew"
    if runs:
        caption += f": mean over {len(runs)} runs; thin lines are single runs"
    return figures.embed(
        partial(learning_curve, metrics, title="", runs=runs),
        alt=sentences.learning_alt(data.result.metric, metrics, data.config),
        caption=caption,
    )


def _per_task(data: ReportData) -> EmbeddedFigure | None:
    if data.result.metric != "return":
        return None
    caption = "A point is a task: its mean over " + "runs and " * (len(data.seeds) > 1)
    return figures.embed(
        partial(plots.per_task, data.result, title=""),
        alt=sentences.tasks_alt(data.result, data.decimals),
        caption=f"{caption}episodes",
    )


def _fits(data: ReportData) -> EmbeddedFigure | None:
    result = data.evaluations[0]
    if not result.fits:
        return None
    of = f" (seed {data.seeds[0]})" if len(data.seeds) > 1 else ""
    return figures.embed(
        partial(plots.fits, result, title="", columns=2),
        alt=sentences.fits_alt(result),
        caption=f"Tasks never seen, and the curves that the model fits to them{of}",
    )


def _videos(data: ReportData, quiet: bool) -> Videos | None:
    """Find the runs' videos, or draw one if there is none; None where there is nothing to see."""
    runs = data.main_folders
    folders = [run.path / "videos" for run in runs]
    # What was drawn before training went on is not what the run has learned.
    since = [checkpoint.latest(run.checkpoints).stat().st_mtime for run in runs]
    there = figures.videos(folders, since)
    if there.shown or there.left_out:
        return there
    if data.config.data == "examples":
        return None
    _render(runs[0], quiet)
    return figures.videos(folders, since)


def _render(run: RunDir, quiet: bool) -> None:
    """Draw a video of a run, if that can be done.

    A page is worth having without one, so whatever hinders it (no OpenGL, nothing to draw) is said
    and no more.
    """
    try:
        video.render(run.path, quiet=quiet)
    except Exception as problem:
        if not quiet:
            print(f"No video: {type(problem).__name__}: {problem}", file=sys.stderr)
