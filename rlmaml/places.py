"""Folders that are taken for a run or a checkpoint: what they are, and what was meant."""

from __future__ import annotations

from pathlib import Path

_OF_RUNS = ("config.json", "checkpoints")


def describe(path: Path) -> str:
    """Say what a path is that is taken for a run or a checkpoint, and what to name instead."""
    if not path.exists():
        return f"There is no checkpoint {path}, and no run: check the name."
    if not path.is_dir():
        return f"{path} is a file: name a run folder, or a checkpoint's own folder."
    if (path / "manifest.json").exists():
        run = path.parent.parent
        return f"{path} is a checkpoint: name its run, {run}, and give it as --checkpoint {path}."
    if path.name == "checkpoints" and any(each.name.isdigit() for each in path.iterdir()):
        return f"{path} holds the checkpoints of a run: name the run, {path.parent}."
    if (path / "config.json").exists():
        return f"{path} holds no checkpoint yet: begin the run with --resume {path}."
    try:
        runs = sorted(each.parent for name in _OF_RUNS for each in path.glob(f"*/{name}"))
    except OSError as problem:
        return f"{path} cannot be read: {problem.strerror}."
    if runs := list(dict.fromkeys(runs)):
        names = ", ".join(each.name for each in runs[:8]) + ", ..." * (len(runs) > 8)
        return f"{path} is no run, but holds {len(runs)} ({names}): name one, such as {runs[0]}."
    return f"{path} is no run and no checkpoint: a run folder holds config.json and checkpoints."
