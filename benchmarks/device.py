"""Updates on a device beside those on the CPU, and whole iterations, by size.

    python -m benchmarks.device --device cuda [--tf32] [--iterations 800 4096 16384] [--out FILE]

The update of the half-cheetah presets (17 observations, 6 actions, ReLU 100-100, K = 1, H = 200,
curvature on a tenth of the data) on random episodes, so that nothing is simulated: seconds on
the CPU, a task at a time, and on the device, all tasks stacked, episodes being there already; what
moving them there takes; the smallest size from which on the device is the faster; and, of a GPU,
the largest number of tasks with 20 episodes each that fits, found by doubling.

With `--iterations` also meta-iterations of the presets with updates on the device, sampling
included, with so many simulations in tasks of 20 episodes: by MuJoCo and policies on the CPU, and
by MuJoCo Warp and policies on the device, which needs the extra `warp`. MuJoCo steps at most
`MOST_ON_CPU` simulations; more take minutes. What was measured is written row by row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rlmaml import MAML, GaussianMLP, InnerConfig, PolicyConfig, models, tree
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import Episodes, MetaBatch
from runners import torch_setup
from runners.environments import build_experiment
from runners.evaluation import profile
from runners.io import versions, write_json
from runners.presets import PRESETS
from runners.training.train import meta_batch

PRESETS_MEASURED, EPISODES, MOST_ON_CPU = ("half-cheetah-dir", "ant-dir"), 20, 5000
SIZES = ((1, 5), (2, 10), (5, 20), (10, 20), (20, 20), (40, 20), (80, 20))
HORIZON, OBSERVATIONS, ACTIONS = 200, 17, 6


def random_batch(tasks: int, episodes: int, horizon: int) -> MetaBatch:
    """Episodes of noise, [N, B, T, ...]."""

    def sampled() -> Episodes:
        shape = (tasks, episodes, horizon)
        zeros, final = torch.zeros(shape), torch.zeros(shape[:2])
        actions = torch.randn(*shape, ACTIONS)
        log_probs = torch.distributions.Normal(0.0, 1.0).log_prob(actions).sum(-1)
        return Episodes(
            observations=torch.randn(*shape, OBSERVATIONS),
            actions=actions,
            rewards=zeros,
            log_probs=log_probs,
            values=zeros,
            advantages=torch.randn(shape),
            mask=torch.ones(shape),
            terminated=final,
            final_observations=torch.zeros(*shape[:2], OBSERVATIONS),
            diagnostics={"diverged": zeros},
        )

    return MetaBatch((sampled(),), sampled())


def seconds(batch: MetaBatch, device: torch.device, repeats: int) -> dict[str, float]:
    """Medians, of moving the data to a device and of an update there."""
    torch.manual_seed(0)
    module = GaussianMLP(OBSERVATIONS, ACTIONS, PolicyConfig(output_gain=0.01))
    region = TrustRegion(max_kl=0.02, fisher_fraction=0.1)
    chunk_size = 1 if device.type == "cpu" else None
    maml = MAML(
        models.functional(module), InnerConfig(step_size=0.1), region, chunk_size=chunk_size
    )
    state = maml.init(tree.to(models.parameters(module), device))
    moves, updates = [], []
    for _ in range(2 + repeats):
        clock = time.perf_counter()
        there = tree.to(batch, device)
        profile.wait_for(device)
        moved = time.perf_counter()
        maml.update(state, there)
        profile.wait_for(device)
        moves.append(moved - clock)
        updates.append(time.perf_counter() - moved)
    return {"transfer": statistics.median(moves[2:]), "update": statistics.median(updates[2:])}


def largest(device: torch.device, episodes: int, horizon: int) -> int:
    """The most tasks, a power of two times 10, whose update fits the device's memory."""
    tasks = 10
    while True:
        try:
            seconds(random_batch(tasks, episodes, horizon), device, repeats=1)
        except torch.cuda.OutOfMemoryError:
            return tasks // 2
        tasks *= 2


def iteration(preset: str, tasks: int, horizon: int, device: str, simulator: str) -> dict[str, Any]:
    """Seconds of a meta-iteration and env steps/s in it: medians of three, after one more.

    Args:
        preset: whose settings it has, but for its size.
        tasks: N, of 20 episodes each.
        horizon: T.
        device: of the update and, with Warp, of simulations and policies.
        simulator: "mujoco" or "warp".
    """
    on = {"device": device, "tasks": tasks, "episodes": EPISODES, "horizon": horizon}
    if simulator == "warp":
        on |= {"sampling_device": device, "env.vectorization": "warp"}
    config = PRESETS[preset].config.changed(on | {"chunk_size": None})
    torch_setup.configure(config)
    experiment = build_experiment(config)
    state = experiment.algorithm.init(experiment.params)
    taken: list[dict[str, Any]] = []
    for i in range(4):
        clock = time.perf_counter()
        batch = meta_batch(experiment, config, state.meta, i)
        profile.wait_for(experiment.device)
        sampled = time.perf_counter()
        state, _ = experiment.algorithm.update(state, batch)
        profile.wait_for(experiment.device)
        total = time.perf_counter() - clock
        steps = experiment.metric.steps(batch)
        row = {"sampling": sampled - clock, "total": total, "env_steps_per_second": steps / total}
        taken.append(row)
    experiment.close()
    return {name: statistics.median(row[name] for row in taken[1:]) for name in taken[0]}


def iterations(sizes: list[int], horizon: int, device: str) -> Iterator[dict[str, Any]]:
    """Meta-iterations with so many simulations, a row each, printed as they come."""
    for preset in PRESETS_MEASURED:
        for size in sizes:
            for simulator in ("mujoco", "warp"):
                if simulator == "mujoco" and size > MOST_ON_CPU:
                    continue
                row: dict[str, Any] = {"preset": preset, "simulator": simulator}
                row |= {"tasks": max(1, size // EPISODES), "episodes": EPISODES}
                try:
                    row |= iteration(preset, row["tasks"], horizon, device, simulator)
                except torch.cuda.OutOfMemoryError:
                    row["failed"] = "out of memory"
                print(json.dumps(row), flush=True)
                yield row


def write(result: dict[str, Any], path: Path | None) -> None:
    """Write what was measured so far, if it is to be kept."""
    if path is not None:
        write_json(path, result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--horizon", type=int, default=HORIZON)
    parser.add_argument("--iterations", type=int, nargs="+", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device, cpu = torch.device(options.device), torch.device("cpu")
    torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
    rows: list[dict[str, Any]] = []
    for tasks, episodes in SIZES:
        batch = random_batch(tasks, episodes, options.horizon)
        row: dict[str, Any] = {"tasks": tasks, "episodes": episodes}
        row |= {"cpu": seconds(batch, cpu, options.repeats)["update"]}
        row |= seconds(batch, device, options.repeats)
        rows.append(row)
        print(
            f"{tasks:>3} x {episodes:<3} cpu {row['cpu']:.3f} s, {device} {row['update']:.3f} s "
            f"and {row['transfer']:.3f} s of transfer: {row['cpu'] / row['update']:.1f} times",
            flush=True,
        )
    result: dict[str, Any] = {"rows": rows, "device": str(device), "tf32": options.tf32}
    slower = [i for i, row in enumerate(rows) if row["cpu"] <= row["transfer"] + row["update"]]
    first = slower[-1] + 1 if slower else 0
    result["break_even"] = rows[first] if first < len(rows) else None
    if device.type == "cuda":
        result["name"] = torch.cuda.get_device_name(device)
        result["largest_tasks"] = largest(device, 20, options.horizon)
    print(json.dumps({name: value for name, value in result.items() if name != "rows"}))
    result |= {"iterations": [], "versions": versions()}
    write(result, options.out)
    for row in iterations(options.iterations, options.horizon, options.device):
        result["iterations"].append(row)
        write(result, options.out)


if __name__ == "__main__":
    main()
