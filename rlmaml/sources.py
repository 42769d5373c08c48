"""What a run is named by: its folder, a policy that comes with rlmaml, or a place on the hub.

What was shared is read where it lies, in the package or in the hub library's cache, and nothing is
written there. Of the hub only those files are fetched that loading reads (`FILES`).
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

from rlmaml.errors import ConfigError

PRETRAINED = Path(__file__).parent / "pretrained"
"""Run folders of the policies that come with the package, by their names."""
FILES = (
    "config.json",
    "evaluation.json",
    "metrics.jsonl",
    "checkpoints/*/*.safetensors",
    "checkpoints/*/manifest.json",
)
"""Files of a run that was shared, as patterns."""
LARGEST = 10**9
"""Bytes of them that are downloaded at most."""
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
# A Path has one slash where a string has two.
_ON_HUB = re.compile(rf"hf:/{{1,2}}({_REPOSITORY.pattern})(?:@(\w[\w./-]*))?", re.ASCII)


class Source(NamedTuple):
    """A run that was shared."""

    path: Path
    """The folder of its files, to be read only."""
    copy: Path
    """A relative path for a copy: another version of the run has another on the hub."""


def resolve(run: str | Path) -> Path:
    """The folder that a run is named by; of a path that does not exist, itself.

    Raises:
        ConfigError: a name of no run, or what cannot be downloaded.
    """
    found = find(run)
    return Path(run) if found is None else found.path


def find(run: str | Path) -> Source | None:
    """Find a run that was shared; None for a path of the reader's own.

    Raises:
        ConfigError: a name of no run, or what cannot be downloaded.
    """
    if not is_shared(run):
        return None
    name = str(Path(run))
    if not name.startswith("hf:"):
        return Source(PRETRAINED / name, Path("pretrained", name))
    found = _ON_HUB.fullmatch(name)
    if found is None:
        raise ConfigError(
            f"A run on the hub is hf://USER/NAME or hf://USER/NAME@REVISION, got {spelled(run)}."
        )
    repository, revision = found.groups()
    path = _download(spelled(run), repository, revision)
    return Source(path, Path("hub", f"{repository}@{path.name[:8]}"))


def is_shared(run: str | Path) -> bool:
    """True for a place on the hub or the name of a policy of the package; a folder has precedence.

    Raises:
        ConfigError: a name alone that is neither of these nor a path that exists, or what can be
            no path.
    """
    path = Path(run)
    try:
        if path.exists():
            return False
    except OSError as problem:  # of a name that is too long, or a folder that may not be read
        if not str(run).startswith("hf:"):
            raise ConfigError(f"{run} is no run folder: {problem.strerror}.") from problem
    if str(run).startswith("hf:"):
        return True
    if len(path.parts) != 1 or path.name == "..":
        return False
    if path.name not in names():
        raise ConfigError(
            f"There is no run folder {run}, and no policy of that name comes with rlmaml. Those "
            f"are: {', '.join(names()) or 'none'}."
        )
    return True


def names() -> list[str]:
    """The policies that come with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def spelled(run: str | Path) -> str:
    """What a run is named by, as its reader would write it."""
    return re.sub("^hf:/+", "hf://", str(run))


def check_repository(name: str) -> None:
    """Check the name of a repository on the hub.

    Raises:
        ConfigError: another than USER/NAME.
    """
    if not _REPOSITORY.fullmatch(name):
        raise ConfigError(f"A repository on the hub is called USER/NAME, got {name!r}.")


def hub(what: str) -> ModuleType:
    """The hub's library.

    Args:
        what: needs it, for the message.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as problem:
        raise ConfigError(f"{what} needs huggingface_hub: pip install 'rlmaml[hub]'.") from problem


def refusal(problem: Exception) -> str:
    """What the hub or its library said, in a line, and what to do."""
    kind = type(problem).__name__
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "LocalTokenNotFoundError"):
        return (
            "there is no such repository, or you may not see it: check the name, or log in (hf "
            "auth login, or HF_TOKEN)."
        )
    if kind == "RevisionNotFoundError":
        return "the repository has no such revision."
    code = getattr(getattr(problem, "response", None), "status_code", None)
    if code in (401, 403):
        return f"it is not allowed ({code}): log in as who may (hf auth login, or HF_TOKEN)."
    lines = [line for line in str(problem).split("\n") if line.strip()] or [""]
    return f"{kind}: {lines[0][:300]}"


def _download(name: str, repository: str, revision: str | None) -> Path:
    """The folder of a run's files in the cache of the hub's library."""
    library = hub(name)
    get = partial(library.snapshot_download, repository, revision=revision, library_name="rlmaml")
    folder = None
    with _told(name):
        try:
            files = _listed(library, repository, revision)
        except Exception:  # without a network there is what was downloaded before
            files = dict.fromkeys(FILES, 0)
            with contextlib.suppress(Exception):
                folder = get(allow_patterns=list(FILES), local_files_only=True)
            if folder is None:
                raise
    size = sum(files.values())
    if size > LARGEST:
        raise ConfigError(
            f"{name} holds {size / 1e9:,.1f} GB of the files of a run, and at most "
            f"{LARGEST / 1e9:g} GB is downloaded: ask its author to share less, or download it by "
            "other means and name the folder."
        )
    if folder is None and files:
        with _told(name):
            folder = get(allow_patterns=[glob.escape(file) for file in files])
    path = None if folder is None else Path(folder)
    if path is None or not (path / "config.json").is_file() or not (path / "checkpoints").is_dir():
        raise ConfigError(f"{name} holds no run that `rlmaml push` has written.")
    return path


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # of the network, of the server's answers, of the disk
        raise ConfigError(f"{name} cannot be had: {refusal(problem)}") from problem


def _listed(library: Any, repository: str, revision: str | None) -> dict[str, int]:
    """The repository's files that loading reads, with their bytes.

    They are told here, because a `*` of the hub's patterns is of folders in folders too.
    """
    api = library.HfApi(library_name="rlmaml")
    info = api.model_info(repository, revision=revision, files_metadata=True)
    return {
        each.rfilename: each.size or 0
        for each in info.siblings or []
        if any(_matches(PurePosixPath(each.rfilename), pattern) for pattern in FILES)
    }


def _matches(path: PurePosixPath, pattern: str) -> bool:
    return len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)
