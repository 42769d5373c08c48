"""Share of the way from standing still to walking straight that a navigation run's policy goes.

    python -m benchmarks.navigation_share RUN [RUN ...]

share_k = (R_k - R_stay) / (R_straight - R_stay), of means over the tasks in evaluation.json:
R_k is the return after k inner steps, R_stay that of standing at the origin, R_straight that of
walking straight to the goal as fast as the action box allows and ending there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np

import envs  # noqa: F401  (registers the environments)


def rollout(goal: np.ndarray, straight: bool) -> float:
    """The return of standing still or of walking straight, in the environment itself."""
    env = gymnasium.make("rlmaml/Navigation2D-v0")
    position, _ = env.reset(seed=0, options={"task": goal})
    total, over = 0.0, False
    while not over:
        action = np.zeros(2)
        if straight:
            way = goal - position
            action = way * min(1.0, 0.1 / max(np.abs(way).max(), 1e-12))
        position, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
        total, over = total + float(reward), terminated or truncated
    return total


def shares(run: Path) -> np.ndarray:
    """share_k for k = 0..K."""
    tasks = json.loads((run / "evaluation.json").read_text())["per_task"]
    goals = [np.asarray(task["task"]) for task in tasks]
    stay, straight = (np.mean([rollout(g, way) for g in goals]) for way in (False, True))
    returns = np.array([task["return"] for task in tasks]).mean(0)
    return (returns - stay) / (straight - stay)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    by_run = {run: shares(Path(run)) for run in sys.argv[1:]}
    for run, share in by_run.items():
        print(f"{run}: " + "  ".join(f"{k} steps {s:.3f}" for k, s in enumerate(share)))
    if len(by_run) > 1:
        means = np.mean(list(by_run.values()), 0)
        print("mean: " + "  ".join(f"{k} steps {s:.3f}" for k, s in enumerate(means)))


if __name__ == "__main__":
    main()
