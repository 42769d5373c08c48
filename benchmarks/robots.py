"""Env steps/s of every robot, as a share of what MuJoCo alone does; and what worlds cost to set.

    python -m benchmarks.robots [--copies 400] [--threads 1] [--steps 5] [--repeats 10] [--out DIR]

A batch of each robot is stepped by random actions in its action space, copies that fall being reset
in the same step (`LocomotionVectorEnv.step`). Before each step its simulations' state is copied to
a bare `Batch` of the same model, which takes the same step by `Batch.step` alone, with the same
threads. The two take turns in being first, and must come to the same states. `set_tasks` puts
every copy into another world than before, and is timed beside a step of all copies in such worlds.
Figures are medians of the repeats; the first repeat is a warm-up, and not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from mujoco.batch import Batch

import envs  # noqa: F401  (registers the environments)
from runners.io import versions, write_json

ROBOTS = ("HalfCheetah", "Ant", "Hopper", "Walker2d", "Humanoid", "Swimmer")
WORLDS = ("HalfCheetah", "Ant", "Hopper", "Walker2d")


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """What it took, and what it returned."""
    clock = time.perf_counter()
    result = work()
    return time.perf_counter() - clock, result


def make(env_id: str, copies: int, threads: int) -> Any:
    """Env of copies that have begun, and made a few steps, so that they touch the ground."""
    env: Any = gymnasium.make_vec(env_id, num_envs=copies, num_threads=threads).unwrapped
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(10):
        env.step(actions(env, rng))
    return env


def actions(env: Any, rng: np.random.Generator) -> np.ndarray:
    space = env.single_action_space
    return rng.uniform(space.low, space.high, env.action_space.shape)


class Pair:
    """An env and a bare batch of its model, which take the same steps."""

    def __init__(self, env: Any, threads: int) -> None:
        self._env, self._ours = env, env.simulation.batch
        self._bare = Batch(env.simulation.model, env.num_envs, threads)
        self._controls, self._qpos = self._bare.bind("ctrl"), self._bare.bind("qpos")
        self._frame_skip = env._parameters["robot"].frame_skip

    def step(self, given: np.ndarray, *, bare_first: bool) -> tuple[float, float]:
        """Seconds of a step of the env, and of the batch."""
        self._bare.state[:] = self._ours.state
        self._controls[:] = given
        if bare_first:
            bare, _ = seconds(lambda: self._bare.step(nstep=self._frame_skip))
        ours, (_, _, ended, late, _) = seconds(lambda: self._env.step(given))
        if not bare_first:
            bare, _ = seconds(lambda: self._bare.step(nstep=self._frame_skip))
        going = ~(ended | late)  # the others have begun anew
        if not np.array_equal(self._qpos[going], self._env.simulation.qpos[going]):
            raise AssertionError("the bare simulations did not come to the same states")
        return ours, bare


def speed(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Steps/s of a robot's env and of the batch alone, and the share that is."""
    env = make(f"rlmaml/{name}Dir-v0", options.copies, options.threads)
    pair, rng = Pair(env, options.threads), np.random.default_rng(1)
    sums = np.zeros((options.repeats + 1, 2))
    for repeat in range(options.repeats + 1):
        for step in range(options.steps):
            sums[repeat] += pair.step(actions(env, rng), bare_first=step % 2 == 0)
    env.close()
    ours, bare = sums[1:].T / (options.steps * options.copies)
    return {
        "env_steps_per_s": float(np.median(1 / ours)),
        "batch_steps_per_s": float(np.median(1 / bare)),
        "ratio": float(np.median(bare / ours)),
    }


def worlds(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of putting all copies into other worlds, and of a step of them all there."""
    env = make(f"rlmaml/{name}Params-v0", options.copies, options.threads)
    rng = np.random.default_rng(1)
    setting, stepping = [], []
    for _ in range(options.repeats + 1):
        tasks = env.sample_tasks(options.copies, rng)
        setting.append(seconds(lambda tasks=tasks: env.set_tasks(tasks))[0])
        took = []
        for _ in range(options.steps):
            given = actions(env, rng)
            took.append(seconds(lambda given=given: env.step(given))[0])
        stepping.append(statistics.mean(took))
    env.close()
    set_tasks, step = (1e3 * statistics.median(each[1:]) for each in (setting, stepping))
    return {"set_tasks_ms": set_tasks, "step_ms": step, "steps": set_tasks / step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path, help="write robots.json there")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("copies", "threads", "steps", "repeats")}
    result: dict[str, Any] = {**sizes, "note": options.note, "robots": {}, "worlds": {}}
    for name in ROBOTS:
        result["robots"][name] = row = speed(name, options)
        print(
            f"{name:<12}{row['env_steps_per_s']:>9,.0f} env steps/s, "
            f"{row['batch_steps_per_s']:>9,.0f} by Batch.step alone: {row['ratio']:.2f}",
            flush=True,
        )
    for name in WORLDS:
        result["worlds"][name] = row = worlds(name, options)
        print(
            f"{name:<12}{row['set_tasks_ms']:>9.1f} ms to set worlds, {row['step_ms']:>9.1f} ms "
            f"to step them: {row['steps']:.2f} steps",
            flush=True,
        )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        result |= {"versions": versions(), "cpus": os.cpu_count()}
        write_json(options.out / "robots.json", result)


if __name__ == "__main__":
    main()
