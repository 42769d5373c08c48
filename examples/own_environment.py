"""Meta-train on an environment of one's own: a Gymnasium environment with a task.

    python examples/own_environment.py

From the command line, with this file on Python's path:

    rlmaml train navigation --env.id examples.own_environment:Wind-v0 --env.kwargs '{}' --horizon 30
"""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import tyro
from gymnasium import spaces

import rlmaml
from runners.presets import PRESETS
from runners.training.train import train


class Wind(gymnasium.Env):
    """Hold a boat at the origin in a wind whose direction and force are the task.

    Beyond Gymnasium's interface an environment for meta-learning has two things: `task_space`, the
    space that tasks are points of, and `set_task`, which takes one.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    task_space = spaces.Box(-0.5, 0.5, (2,), np.float64)

    def __init__(self) -> None:
        self.wind = np.zeros(2)
        self.position = np.zeros(2)

    def set_task(self, task: np.ndarray) -> None:
        """Set the wind, in the units of actions."""
        self.wind = np.asarray(task, float)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.position = self.np_random.normal(0, 0.1, 2)
        return self.position.copy(), {}

    def step(self, action: np.ndarray):
        self.position += 0.1 * (np.clip(action, -1, 1) + self.wind)
        reward = -float(np.linalg.norm(self.position))
        return self.position.copy(), reward, False, False, {}  # a time limit ends the episode


gymnasium.register("Wind-v0", entry_point=Wind)


def main(iterations: int = 20, out: Path = Path("runs/example-own-environment")) -> None:
    """Meta-train on the boats, and print the return in one wind after each inner step.

    Args:
        iterations: Meta-iterations.
        out: Run folder to make.
    """
    # A preset's settings are a start; the environment, its arguments and the horizon are ours.
    _, config = PRESETS["navigation"]
    changes = {"env.id": "Wind-v0", "env.kwargs": {}, "horizon": 30, "tasks": 10, "episodes": 10}
    folder = train(config.changed(changes | {"iterations": iterations}), out)

    learner = rlmaml.load(folder.path)
    env = gymnasium.make("Wind-v0", max_episode_steps=30)
    env.get_wrapper_attr("set_task")([0.4, -0.2])
    for steps in range(3):
        policy = learner.adapt(env, steps=steps + 1)
        rewards = policy.episodes[steps].rewards  # of what the last inner step learned from
        print(f"return after {steps} inner steps: {rewards.sum(-1).mean():.1f}")


if __name__ == "__main__":
    tyro.cli(main)
