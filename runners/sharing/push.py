"""`rlmaml push`: a run, ready to adapt, to the Hugging Face Hub or to a folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from rlmaml import sources
from rlmaml.errors import ConfigError
from runners.opening import opened
from runners.sharing import card, folder

_REPLACED = ["checkpoints/*", "plots/*", "replay.*", "evaluation.json", "metrics.jsonl"]
"""Files on the hub that a push of another time left, as patterns."""


@dataclass(frozen=True)
class Pushed:
    """A run that was shared."""

    place: str
    """An address, or a folder."""
    iteration: int
    bytes: int
    named: str

    def __str__(self) -> str:
        return (
            f"Written: {self.place} (the checkpoint after {self.iteration:,} meta-iterations; "
            f"{self.bytes / 1e3:,.0f} kB)\nLoad it: rlmaml.load({self.named!r})"
        )


def push(
    run: tyro.conf.Positional[Path],
    name: tyro.conf.Positional[str | None] = None,
    *,
    to_folder: Path | None = None,
    checkpoint: Path | None = None,
    license: str = "mit",
    private: bool = False,
    small: bool = False,
) -> Pushed:
    """Share a run on the Hugging Face Hub, with a page on what it has learned.

    Shared are the configuration, one checkpoint, the evaluation, metrics, plots and the newest
    video. The state that training goes on with stays here, and paths of this machine too.

    Args:
        run: Run folder, or what else a run is named by (NAME, hf://USER/NAME).
        name: Repository to push to, USER/NAME; made if there is none.
        to_folder: Write the folder here instead of pushing it, to look at or to keep.
        checkpoint: Checkpoint folder, or `best`; the run's newest if not given.
        license: License of what is shared, as the hub spells it.
        private: Let nobody else see the repository; one that others see already is refused.
        small: Leave out metrics, plots, videos and fitted curves.

    Raises:
        ConfigError: no run, a run of no checkpoint or that cannot be shared, a folder that exists
            or cannot be written, nobody logged in, a repository that holds something else or that
            is not private, or what the hub refuses.
    """
    if (name is None) == (to_folder is None):
        raise ConfigError(
            "Give one place: a repository to push to, rlmaml push DIR USER/NAME, or a folder to "
            "write, --to-folder DIR."
        )
    if not license.strip():
        raise ConfigError("--license is empty: name a license as the hub spells it, such as mit.")
    if name is not None:
        sources.check_repository(name)
    if to_folder is not None:
        if to_folder.exists():
            raise ConfigError(f"--to-folder {to_folder} exists already: name another folder.")
        if private:
            raise ConfigError("--private is of a repository on the hub: leave it out.")
    library = None if name is None else _logged_in(name)
    source = opened(run)
    named = f"hf://{name}" if to_folder is None else to_folder.name
    try:
        with _staging(to_folder) as staging:
            held = folder.write(
                source, staging, named, which=checkpoint, license=license, small=small
            )
            size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
            if to_folder is not None:
                staging.rename(to_folder)
                place = named = str(to_folder)
            else:
                place = _upload(library, staging, name, private)
    except OSError as problem:
        what = to_folder or f"a folder to push to {name}"
        raise ConfigError(f"Cannot write {what}: {problem.strerror}.") from problem
    return Pushed(place, held.iteration, size, named)


@contextlib.contextmanager
def _staging(to_folder: Path | None) -> Iterator[Path]:
    """A path for a folder, beside the one it becomes if there is one; removed in the end."""
    if to_folder is not None:
        staging = to_folder.with_name(f".{to_folder.name}.{os.getpid()}")
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return
    with tempfile.TemporaryDirectory() as folder_of_ours:
        yield Path(folder_of_ours) / "run"


def _logged_in(name: str) -> Any:
    """The hub's library.

    Raises:
        ConfigError: it is not installed, or nobody is logged in.
    """
    library = sources.hub(f"rlmaml push to {name}")
    if library.get_token() is None:
        raise ConfigError(
            f"Nobody is logged in who could push to {name}: make a token that may write, at "
            "https://huggingface.co/settings/tokens, and log in by `hf auth login` (or set "
            "HF_TOKEN)."
        )
    return library


def _upload(library: Any, content: Path, name: str | None, private: bool) -> str:
    """Make the repository if there is none, and commit the folder to it; its address.

    Raises:
        ConfigError: a repository of something else or that is not private, or what the hub refuses.
    """
    api = library.HfApi(library_name=card.LOADED_BY)
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        _check(api.model_info(name), name, private)
        api.upload_folder(
            repo_id=name,
            folder_path=content,
            delete_patterns=_REPLACED,
            commit_message="Push a run by rlmaml",
        )
    except ConfigError:
        raise
    except Exception as problem:  # of the network, of the hub
        raise ConfigError(f"Cannot push to {name}: {sources.refusal(problem)}") from problem
    return str(address)


def _check(there: Any, name: str | None, private: bool) -> None:
    """Check that a repository, as the hub describes it, may be pushed to.

    Raises:
        ConfigError: everyone sees what is to be private, or files would be lost that are no run's.
    """
    if private and not there.private:
        raise ConfigError(
            f"{name} exists and is public, and --private does not change that: make it private in "
            "its settings on the hub, or name another repository."
        )
    files = {each.rfilename for each in there.siblings or []} - {".gitattributes"}
    manifest = re.compile(r"checkpoints/[^/]+/manifest\.json")
    if files and not ("config.json" in files and any(map(manifest.fullmatch, files))):
        raise ConfigError(
            f"{name} holds files and no run of rlmaml, and a push would replace its README.md: "
            "name another repository, or remove what is in it on the hub."
        )
