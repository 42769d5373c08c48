"""Hashes of what training and evaluation compute, to compare one commit with another to the bit.

    python -m tests.helpers.fingerprint > before.json
    python -m tests.helpers.fingerprint --against before.json

Sizes are small: three iterations each. Equality is to be had on one machine, at one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch

from runners.command_line.cli import main

SMALL = ["--iterations", "3", "--threads", "1", "--checkpoint-every", "3"]
ROBOT = ["--tasks", "4", "--episodes", "4", "--horizon", "20"]
FEW_SHOT = ["--tasks", "4"]
PRESETS: dict[str, list[str]] = {
    "half-cheetah-dir": ROBOT,
    "ant-vel": ROBOT,
    "navigation": ROBOT,
    "bandit": ["--tasks", "10", "--episodes", "10"],
    "sinusoid": FEW_SHOT,
    "digits": [*FEW_SHOT, "--validation-tasks", "4"],
    "docstrings": [*FEW_SHOT, "--validation-tasks", "4"],
    "paper-point": ROBOT,
    "paper-ant-vel-ours": ROBOT,
}
EXAMPLES = ("sinusoid", "digits", "docstrings")
SIZES = ["--tasks", "4", "--steps", "2"]
FIVE = ["--episodes", "5"]
"""Of evaluations; of those that are on episodes."""
ALGORITHMS = ("fo-maml", "meta-sgd", "e-maml", "promp", "anil", "hf-maml", "imaml", "bayesian-maml")
NO_RECORD = 2
"""Exit code where something differs."""


def fingerprint(preset: str, options: list[str]) -> dict[str, Any]:
    """The hash of the parameters after three iterations, and the evaluation's numbers."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        run = Path(scratch) / "run"
        main(["train", preset, *options, *SMALL, "--quiet", "--out", str(run)])
        tensors = safetensors.torch.load_file(run / "checkpoints" / "000003" / "meta.safetensors")
        main(["evaluate", str(run), *SIZES, *([] if preset in EXAMPLES else FIVE), "--quiet"])
        evaluation = json.loads((run / "evaluation.json").read_text())
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    scores = [task[evaluation["metric"]] for task in evaluation["per_task"]]
    return {
        "parameters": digest.hexdigest(),
        "scores": hashlib.sha256(json.dumps(scores).encode()).hexdigest(),
        "mean": evaluation["mean"],
    }


def record() -> dict[str, Any]:
    """All presets, and some algorithms on navigation."""
    cases = {name: (name, options) for name, options in PRESETS.items()}
    twenty = ["--episodes", "20"]  # a multiple of the particles
    cases |= {
        f"navigation {name}": ("navigation", [*ROBOT, *twenty, "--algorithm", name])
        for name in ALGORITHMS
    }
    found = {}
    for name, (preset, options) in cases.items():
        try:
            found[name] = fingerprint(preset, options)
        except SystemExit as stop:
            found[name] = {"refused": stop.code}
        print(name, file=sys.stderr, flush=True)
    return found


def differing(before: Any, after: Any) -> bool:
    """Whether two records differ; NaN equals NaN."""
    if isinstance(before, float) and isinstance(after, float):
        return before != after and not (math.isnan(before) and math.isnan(after))
    return before != after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="a record to compare with")
    options = parser.parse_args()
    made = record()
    if options.against is None:
        print(json.dumps(made, indent=1))
        raise SystemExit(0)
    before = json.loads(options.against.read_text())
    different = [name for name in before if differing(before[name], made.get(name))]
    print(f"{len(before) - len(different)} of {len(before)} equal")
    for name in different:
        print(f"{name}: {before[name]} -> {made.get(name)}")
    raise SystemExit(NO_RECORD if different else 0)
