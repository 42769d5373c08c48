"""A run folder as it is shared: what others need to adapt what was learned, and a page on it.

config.json, one checkpoint (safetensors and JSON), evaluation.json, metrics.jsonl, pictures, a
video, README.md. No file runs code when it is read, and none names a folder of this machine.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from rlmaml import checkpoint, sharing
from rlmaml.checkpoint import Checkpoint
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.migration import predictor_spec
from rlmaml.models.spec import PredictorSpec
from runners.evaluation.results import Evaluation
from runners.io import read_json, write_json, write_text
from runners.reporting import figures, provenance
from runners.run_dir import RunDir
from runners.sharing import card

PICTURES = {
    "learning.png": "The metric over training, before and after adaptation",
    "adaptation.png": "The metric after each number of inner steps",
    "tasks.png": "The return of each task",
    "fits.png": "Curves fitted to tasks never seen",
}
"""Captions of a run's plots; all but the first are of its evaluation."""
_VIDEOS = (".mp4", ".gif")


def write(
    run: RunDir,
    out: Path,
    named: str,
    *,
    which: Path | None = None,
    license: str = "mit",
    small: bool = False,
) -> Checkpoint:
    """Write the folder.

    Args:
        run: the run.
        out: the folder, which is made.
        named: what the page says that the run is loaded by.
        which: the checkpoint, as of `rlmaml.checkpoint.locate`.
        license: of what is shared, as the hub spells it.
        small: leave out metrics, pictures, videos and fitted curves.

    Returns:
        The checkpoint that was written.

    Raises:
        ConfigError: a run that cannot be read, a link that leads out of it, or a file that cannot
            be written.
    """
    config, origin = run.read_config(), run.read_origin()
    place = checkpoint.locate(run.path, which)
    held = checkpoint.load(place)
    result = _evaluation(run, held)
    config = _without_folders(config)
    init = origin.init and provenance.short_if_absolute(origin.init)
    train_command = provenance.train_command(run)
    origin = origin._replace(init=init, launcher=None)
    if origin.command is not None:
        origin = origin._replace(command=train_command)
    try:
        out.mkdir(parents=True)
        shared = RunDir(out)
        shared.write(config, origin)
        best = which == Path("best")
        source = _inside(place, run)
        sharing.write_checkpoint(source, shared.checkpoints, config.to_dict(), best=best)
        if result is not None:
            _write_evaluation(run, shared, small)
        contents = card.Contents(
            named=named,
            license=license,
            config=config,
            origin=origin,
            iteration=held.iteration,
            metrics=run.read_metrics(),
            train_command=train_command,
            evaluation=result,
            predictor=_predictor(config, held),
        )
        if not small:
            _write_metrics(run, shared)
            pictures = _pictures(run, shared, result)
            replay, shows = _video(run, shared, place)
            contents = dataclasses.replace(
                contents, pictures=pictures, replay=replay, replay_shows=shows
            )
        write_text(out / "README.md", card.page(contents))
    except OSError as problem:
        raise ConfigError(f"Cannot write {out}: {problem.strerror}.") from problem
    return held


def _without_folders(config: TrainConfig) -> TrainConfig:
    """The configuration with the last parts of the paths of data."""
    kwargs = provenance.without_folders(config.env.kwargs)
    return dataclasses.replace(config, env=dataclasses.replace(config.env, kwargs=kwargs))


def _predictor(config: TrainConfig, held: Checkpoint) -> PredictorSpec | None:
    if config.data != "examples":
        return None
    return predictor_spec(held.state.get("predictor"), held.meta)


def _evaluation(run: RunDir, held: Checkpoint) -> Evaluation | None:
    """The run's evaluation, if it is of this checkpoint."""
    try:
        made = Evaluation.load(_inside(run.evaluation, run))
    except FileNotFoundError:
        return None
    return made if made.measured(held.iteration, held.digest) else None


def _write_evaluation(run: RunDir, shared: RunDir, small: bool) -> None:
    record = read_json(run.evaluation)
    if small:
        record["fits"] = []
    if isinstance(command := record.get("command"), str):
        record["command"] = provenance.portable(command)
    write_json(shared.evaluation, provenance.without_folders(record), compact=small)


def _write_metrics(run: RunDir, shared: RunDir) -> None:
    """Write the lines of metrics, without texts that may be paths."""
    for line in run.read_metrics():
        kept = {
            name: value
            for name, value in line.items()
            if not (isinstance(value, str) and os.sep in value)
        }
        shared.append_metrics(kept)


def _pictures(run: RunDir, shared: RunDir, result: Evaluation | None) -> dict[str, str]:
    """Copy the plots of what is shared; captions by their paths in the folder."""
    captions = {}
    for name, caption in PICTURES.items():
        path = run.plots / name
        if path.is_file() and (result is not None or name == "learning.png"):
            shared.plots.mkdir(exist_ok=True)
            shutil.copyfile(_inside(path, run), shared.plots / name)
            captions[f"{shared.plots.name}/{name}"] = caption
    return captions


def _video(run: RunDir, shared: RunDir, place: Path) -> tuple[str | None, str]:
    """Copy the newest video that is no older than the checkpoint; its file, and what it shows.

    The hub plays a file of that name beside the page.
    """
    since = place.stat().st_mtime
    found = [
        path
        for path in (run.path / "videos").glob("*")
        if path.suffix in _VIDEOS
        and path.is_file()
        and path.stat().st_mtime >= since
        and path.stat().st_size <= figures.VIDEO_LIMIT
    ]
    if not found:
        return None, ""
    newest = max(found, key=lambda path: (path.stat().st_mtime, path.name))
    name = f"replay{newest.suffix}"
    shutil.copyfile(_inside(newest, run), shared.path / name)
    shows = figures.video_name(newest.stem)
    return name, f"{shows[:1].upper()}{shows[1:]}."


def _inside(path: Path, run: RunDir) -> Path:
    """The path, which does not lead out of the run's folder: a stranger's run may have links.

    Raises:
        ConfigError: it does.
    """
    if not path.resolve().is_relative_to(run.path.resolve()):
        raise ConfigError(
            f"{path} is a link that leads out of the run: what is shared are files of the run "
            "alone, so put a copy in its place."
        )
    return path
