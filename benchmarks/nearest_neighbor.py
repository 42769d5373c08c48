"""Accuracy of the nearest example, by pixels: what a few-shot classifier of images must exceed.

    python -m benchmarks.nearest_neighbor [rlmaml/Glyphs-v0] [--way 5] [--shots 1] [--queries 10]

Distances are Euclidean, of images as they are. Tasks are of the test split.
"""

from __future__ import annotations

import argparse
import json

import gymnasium
import numpy as np

import rlmaml  # noqa: F401  registers the ids
from runners.evaluation import statistics

TASKS = 600


def accuracies(family, tasks: int, shots: int, queries: int, seed: int) -> np.ndarray:
    """The share of a task's queries whose nearest support example is of their class, [tasks].

    Args:
        family: few-shot tasks of images.
        tasks: to draw of the test split.
        shots: support examples of a class.
        queries: query examples of a class.
        seed: draws tasks and examples.
    """
    rng = np.random.default_rng(seed)
    found = []
    for task in family.sample(tasks, rng, "test"):
        (x, y), (asked, answers) = family.episode(task[None], shots, queries, rng)
        x, asked = (images[0].reshape(images.shape[1], -1) for images in (x, asked))
        distance = np.square(asked[:, None] - x).sum(-1)
        found.append(np.mean(y[0][distance.argmin(1)] == answers[0]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("id", nargs="?", default="rlmaml/Glyphs-v0")
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kwargs", type=json.loads, default={}, help="of the environment, as JSON")
    given = parser.parse_args()
    env = gymnasium.make(given.id, way=given.way, **given.kwargs)
    family = env.unwrapped.examples
    found = accuracies(family, TASKS, given.shots, given.queries, given.seed)
    half = statistics.over_tasks(found)
    print(f"{100 * found.mean():.1f} ± {100 * half:.1f} % on {TASKS} tasks")


if __name__ == "__main__":
    main()
