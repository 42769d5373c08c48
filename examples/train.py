"""Meta-train a policy for a few iterations, then adapt it to a task it has not seen.

python examples/train.py                                   # a point that looks for a goal
python examples/train.py --preset half-cheetah-dir --iterations 20
"""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import tyro

import rlmaml
from rlmaml.learner import AdaptedPolicy
from runners.environments import make_single
from runners.presets import PRESETS
from runners.training.train import train


def main(
    preset: str = "navigation",
    iterations: int = 10,
    tasks: int = 20,
    out: Path = Path("runs/example-train"),
) -> None:
    """Meta-train a preset, and print the return before and after each inner step.

    Args:
        preset: Name of a preset on episodes; `rlmaml list` has them.
        iterations: Meta-iterations.
        tasks: Tasks per meta-iteration.
        out: Run folder to make.
    """
    _, config = PRESETS[preset]
    config = config.changed({"iterations": iterations, "tasks": tasks})
    folder = train(config, out)

    # A run folder is all that adapting needs. The environment has the task to adapt to.
    learner = rlmaml.load(folder.path)
    env = make_single(config)
    space = env.get_wrapper_attr("task_space")
    space.seed(0)
    task = space.sample()
    env.get_wrapper_attr("set_task")(task)
    print(f"task {task}")
    for steps in range(4):
        policy = learner.adapt(env, steps=steps)
        print(f"return after {steps} inner steps: {mean_return(policy, env):.1f}")


def mean_return(policy: AdaptedPolicy, env: gymnasium.Env, episodes: int = 10) -> float:
    """The mean return of a policy."""
    returns = []
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


if __name__ == "__main__":
    tyro.cli(main)
