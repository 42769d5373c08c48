"""Env steps/s of robots by MuJoCo's own engine and by MuJoCo Warp, by the number of simulations.

    python -m benchmarks.simulators [--robots HalfCheetah Ant] [--sizes 800 4096 16384 65536]

Whole steps with random actions, observations and rewards included, in one process: MuJoCo on all
CPUs, or on so many `--threads`, and Warp on the GPU if there is one, by steps of the vector
environment; and Warp by steps in tensors, which never come to the host. It needs the extra `warp`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import torch

import envs  # noqa: F401  registers the ids
from benchmarks import markdown
from envs.locomotion.simulation import MuJoCoBatch
from envs.locomotion.warp import WarpBatch
from runners.evaluation import profile
from runners.io import versions, write_json

SIMULATORS = {"mujoco": MuJoCoBatch, "warp": WarpBatch, "warp, tensors": WarpBatch}


def rate(robot: str, count: int, simulator: str, threads: int | None, seconds: float) -> float:
    """Env steps/s of a robot's copies, over at least so many seconds."""
    env = gymnasium.make_vec(
        f"rlmaml/{robot}Dir-v0",
        num_envs=count,
        num_threads=threads,
        simulate=SIMULATORS[simulator],
    )
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.single_action_space
    assert isinstance(space, gymnasium.spaces.Box)
    actions = rng.uniform(space.low, space.high, (count, *space.shape)).astype(np.float32)
    step: Callable[[], object] = partial(env.step, actions)
    robots, device = None, torch.device("cpu")
    if simulator.endswith("tensors"):
        robots = cast(Any, env).on_device
        device = torch.device(robots.device)
        robots.begin(range(count), torch.ones(count, dtype=torch.bool, device=device))
        step = partial(robots.step, torch.from_numpy(actions).to(device))
    for _ in range(3):  # kernels are compiled, and memory is had
        step()
    profile.wait_for(device)
    steps, clock = 0, time.perf_counter()
    while (passed := time.perf_counter() - clock) < seconds or steps < 3:
        for _ in range(3):
            step()
        profile.wait_for(device)
        steps += 3
    if robots is not None:
        robots.check()  # or forces were lost, and nothing was measured
    env.close()
    return steps * count / passed


def table(rows: list[dict[str, Any]]) -> str:
    """The rates in Markdown, a line a robot and size."""
    lines = [
        [
            row["robot"],
            f"{row['copies']:,}",
            *(f"{row[name]:,.0f}" for name in SIMULATORS),
            f"{row['warp, tensors'] / row['mujoco']:.2f}",
        ]
        for row in rows
    ]
    return markdown.table(("robot", "simulations", *SIMULATORS, "tensors / mujoco"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=["HalfCheetah", "Ant"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[800, 4096, 16384, 65536])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for robot in options.robots:
        for count in options.sizes:
            rates = {
                name: rate(robot, count, name, options.threads, options.seconds)
                for name in SIMULATORS
            }
            rows.append({"robot": robot, "copies": count, **rates})
    print(table(rows))
    if options.out is not None:
        settings = {"threads": options.threads, "seconds": options.seconds}
        write_json(options.out, {"rows": rows, **settings, "versions": versions()})


if __name__ == "__main__":
    main()
