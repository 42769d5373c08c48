"""Env steps/s while policies act, as a share of what MuJoCo alone does on the same states.

    python -m benchmarks.env_steps [--threads 2] [--repeats 5]

Each environment is rolled out by N policies on N tasks as in meta-training (reset, stacked policy,
noise, clipping, environment, recording; not the advantages). Then the very same states are stepped
again from the same first states with the recorded controls by `Batch.step` alone, in the same
process, with the same threads. The two alternate; medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import gymnasium
import torch

import envs  # noqa: F401  (registers the environments)
from benchmarks.physics import Physics
from rlmaml import models, tree
from rlmaml.rng import generator
from rlmaml.sampling.rollouts import RolloutSampler

ENVIRONMENTS = {
    "HalfCheetah, frame_skip 5": ("rlmaml/HalfCheetahVel-v0", {"frame_skip": 5}, 100),
    "HalfCheetah, frame_skip 1": ("rlmaml/HalfCheetahVel-v0", {"frame_skip": 1}, 200),
    "Ant, frame_skip 5": ("rlmaml/AntVel-v0", {"frame_skip": 5}, 50),
}


def measure(env_id: str, kwargs: dict, horizon: int, threads: int, repeats: int) -> dict:
    tasks, episodes = 40, 20

    env = gymnasium.make_vec(
        env_id,
        num_envs=tasks * episodes,
        max_episode_steps=horizon,
        autoreset_mode="Disabled",
        num_threads=threads,
        **kwargs,
    )
    physics = Physics(env)
    torch.manual_seed(0)
    size, actions = env.single_observation_space.shape[0], env.single_action_space
    model = models.GaussianMLP(size, actions.shape[0])
    sampler = RolloutSampler(env, models.functional(model), episodes=episodes, horizon=horizon)
    params = tree.repeat(models.parameters(model), tasks)
    chosen = env.unwrapped.sample_tasks(tasks, generator(0))
    ours, raw = [], []
    for repeat in range(repeats + 1):
        key = (0, repeat, 0)
        clock = time.perf_counter()
        recorded = sampler(params, chosen, key)
        took = time.perf_counter() - clock
        bare_took = physics.seconds(recorded, key, 0)
        if not physics.ended_like(env):
            raise AssertionError("the bare simulations did not pass through the same states")
        if repeat:  # the first is a warm-up
            steps = recorded.mask.sum().item()
            ours.append(steps / took)
            raw.append(steps / bare_took)
    physics.close()
    env.close()
    return {
        "env_steps_per_s": statistics.median(ours),
        "batch_step_per_s": statistics.median(raw),
        "ratio": statistics.median(o / r for o, r in zip(ours, raw, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for name, settings in ENVIRONMENTS.items():
        results[name] = row = measure(*settings, options.threads, options.repeats)
        print(
            f"{name:<28} {row['env_steps_per_s']:>9,.0f} env steps/s while acting, "
            f"{row['batch_step_per_s']:>9,.0f} by Batch.step alone: {row['ratio']:.2f}",
            flush=True,
        )
    print(json.dumps({"threads": options.threads, "repeats": options.repeats, **results}))


if __name__ == "__main__":
    main()
