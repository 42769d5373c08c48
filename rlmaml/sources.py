"""What a run is named by: its folder, a policy that comes with rlmaml, or a place on the hub.

What was shared is read where it lies, in the package or in the hub library's cache, and nothing is
written there. Of the hub only those files are fetched that loading reads (`FILES`).
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

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
            f"A run on the hub is hf://USER/NAME or hf://USER/NAME@REVISION, got {run}."
        )
    repository, revision = found.groups()
    path = _download(spelled(run), repository, revision)
    return Source(path, Path("hub", f"{repository}@{path.name[:8]}"))


def is_shared(run: str | Path) -> bool:
    """True for a place on the hub or the name of a policy of the package; a folder has precedence.

    Raises:
        ConfigError: a name alone that is neither of these nor a path that exists.
    """
    path = Path(run)
    if path.exists():
        return False
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
    try:
        folder = library.snapshot_download(
            repository, revision=revision, allow_patterns=list(FILES), library_name="rlmaml"
        )
    except Exception as problem:  # of the network, of the server's answers, of the disk
        raise ConfigError(f"{name} cannot be had: {refusal(problem)}") from problem
    path = Path(folder)
    if not (path / "config.json").is_file() or not (path / "checkpoints").is_dir():
        raise ConfigError(f"{name} holds no run that `rlmaml push` has written.")
    return path
