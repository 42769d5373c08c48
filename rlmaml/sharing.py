"""Checkpoints for others: what adapting needs, in safetensors and JSON alone.

Such a checkpoint is a folder like any other, with `state.safetensors` in place of `state.pt`. It
has no state of the outer step, so that training starts from it (`--init`) and does not go on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlmaml import checkpoint, packing, whole_folders
from rlmaml.checkpoint import META, SHARED_STATE


def write_checkpoint(
    source: Path, folder: Path, config: dict[str, Any], *, best: bool = False
) -> Path:
    """Write a run's checkpoint so that others can adapt what it holds.

    Args:
        source: the checkpoint's folder.
        folder: for the new one, which is called as the old one is.
        config: the run's configuration, as `TrainConfig.to_dict` has it.
        best: whether it is the run's best.

    Raises:
        CheckpointError: a checkpoint that is missing, cut or altered.
        OSError: it cannot be written.
    """
    held = checkpoint.load(source)
    out = folder / f"{held.iteration:06d}"
    out.mkdir(parents=True)
    whole_folders.write(out / META, (source / META).read_bytes())  # evaluations know it by its hash
    whole_folders.write(out / SHARED_STATE, packing.shared_state(held.state))
    known = held.iteration if best or held.best == held.iteration else None
    checkpoint.write_manifest(out, (META, SHARED_STATE), held.iteration, config, known)
    return out
