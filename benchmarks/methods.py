"""Costs of methods beside one another, as ratios in one run.

    python -m benchmarks.methods [--device cuda] [--out DIR]

`speed`: meta-iterations/s of the `sinusoid` preset with K = 5 inner steps.
`memory`: what an update holds at most beyond what the process held before, of a regression with a
network of 256-256 units on 500 support examples for each of 25 tasks, by K = 1, 5, 20.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rlmaml.config import ExamplesConfig, TrainConfig
from runners.evaluation.profile import in_own_process
from runners.io import versions
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm

SPEED = ("maml", "fo-maml", "hf-maml", "imaml", "reptile")
MEMORY = ("maml", "fo-maml", "hf-maml", "imaml")
STEPS = (1, 5, 20)


def with_steps(config: TrainConfig, name: str, steps: int) -> TrainConfig:
    config = with_algorithm(config, name)
    # The same network for all: what a method usually has different is not what is measured.
    policy = replace(config.policy, activation="tanh")
    return replace(config, inner=replace(config.inner, steps=steps), policy=policy)


def speed(config: TrainConfig) -> dict[str, Any]:
    rows = {name: asdict(in_own_process(with_steps(config, name, 5))) for name in SPEED}
    base = rows["maml"]["iterations_per_second"]
    for name, row in rows.items():
        row["times maml"] = row["iterations_per_second"] / base
        rate = row["iterations_per_second"]
        print(f"{name:<10}{rate:>10.1f} it/s{row['times maml']:>8.2f} times MAML's")
    return rows


def memory(config: TrainConfig) -> dict[str, Any]:
    config = replace(
        config,
        examples=ExamplesConfig(shots=500, queries=500),
        policy=replace(config.policy, hidden=(256, 256)),
    )
    rows: dict[str, Any] = {}
    for name in MEMORY:
        rows[name] = {str(k): asdict(in_own_process(with_steps(config, name, k))) for k in STEPS}
        cells = "".join(f"{rows[name][str(k)]['peak_memory_mb']:>10.0f}" for k in STEPS)
        print(f"{name:<10}{cells} MB at K = {', '.join(map(str, STEPS))}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="write methods.json there")
    options = parser.parse_args()
    config = replace(PRESETS["sinusoid"][1], device=options.device)
    result = {"speed": speed(config), "memory": memory(config), "versions": versions()}
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "methods.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
