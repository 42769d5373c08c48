"""A run folder as it is shared: what others need to adapt what was learned, and a page on it.

config.json, one checkpoint (safetensors and JSON), evaluation.json, metrics.jsonl, pictures, a
video, README.md. No file runs code when it is read, and none names a folder of this machine.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

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
    "answers.png": "Images of a task, and the classes that they were taken for",
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
        ConfigError: a run that cannot be read, a checkpoint of another, a link that leads out of
            the run, or a file that cannot be written.
        OSError: a folder that cannot be made, or a file that cannot be copied.
    """
    for name in ("config.json", "metrics.jsonl", "evaluation.json"):
        _inside(run.path / name, run)
    config, origin = run.read_config(), run.read_origin()
    place = _checkpoint(run, which)
    held = checkpoint.load(place)
    measured = _is_measured(run, held)
    config = _without_folders(config)
    init = origin.init and provenance.short_if_absolute(origin.init)
    train_command = provenance.train_command(run)
    origin = origin._replace(init=init, launcher=None)
    if origin.command is not None:
        origin = origin._replace(command=train_command)
    out.mkdir(parents=True)
    shared = RunDir(out)
    shared.write(config, origin)
    best = which == Path("best")
    sharing.write_checkpoint(place, shared.checkpoints, config.to_dict(), best=best)
    contents = card.Contents(
        named=named,
        license=license,
        config=config,
        origin=origin,
        iteration=held.iteration,
        metrics=run.read_metrics(),
        train_command=train_command,
        evaluation=_shared_evaluation(run, shared, small) if measured else None,
        predictor=_predictor(config, held),
    )
    if not small:
        _write_metrics(run, shared)
        pictures = _pictures(run, shared, contents.evaluation)
        replay, shows = _video(run, shared, place)
        contents = dataclasses.replace(
            contents, pictures=pictures, replay=replay, replay_shows=shows
        )
    write_text(out / "README.md", card.page(contents))
    return held


def _checkpoint(run: RunDir, which: Path | None) -> Path:
    """The folder of a checkpoint of the run.

    Raises:
        ConfigError: there is none, it is another run's, or a link in it leads out of the run.
    """
    place = checkpoint.locate(run.path, which)
    if not place.exists():
        checkpoint.load(place)  # says what is wrong
    named = Path(os.path.abspath(place)).is_relative_to(os.path.abspath(run.path))
    if not named and not place.resolve().is_relative_to(run.path.resolve()):
        raise ConfigError(f"{place} is no checkpoint of {run.path}: name one of its own.")
    for path in (place, *place.glob("*")):
        _inside(path, run)
    return place


def _without_folders(config: TrainConfig) -> TrainConfig:
    """The configuration with the last parts of the paths of data."""
    stored = config.to_dict()
    shorter = _shortened(stored)
    return config if shorter == stored else TrainConfig.from_dict(shorter)


_ABSOLUTE = re.compile(
    r"""(?:^|(?<=[\s"'`=:,;(\[{<>|]))(?:file://)?/[\w.~][^\s"'`<>|,;:()\[\]{}]*"""
)
"""An absolute path within a text; not one in an address of the web."""


def _shortened(value: Any) -> Any:
    """A JSON value with the last part of every absolute path in its texts."""
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value]
    if isinstance(value, str):
        whole = provenance.without_folders(value)
        return _ABSOLUTE.sub(lambda found: PurePosixPath(found[0]).name, whole)
    return value


def _predictor(config: TrainConfig, held: Checkpoint) -> PredictorSpec | None:
    if config.data != "examples":
        return None
    return predictor_spec(held.state.get("predictor"), held.meta)


def _is_measured(run: RunDir, held: Checkpoint) -> bool:
    """True if the run's evaluation is of this checkpoint."""
    try:
        made = Evaluation.load(run.evaluation)
    except FileNotFoundError:
        return False
    return made.measured(held.iteration, held.digest)


def _shared_evaluation(run: RunDir, shared: RunDir, small: bool) -> Evaluation:
    """Write the evaluation; read as it is shared."""
    record = read_json(run.evaluation)
    if small:
        record["fits"] = []
    if isinstance(command := record.get("command"), str):
        record["command"] = provenance.portable(command)
    write_json(shared.evaluation, _shortened(record), compact=small)
    return Evaluation.load(shared.evaluation)


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
