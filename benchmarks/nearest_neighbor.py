"""Accuracy without adaptation: what a few-shot classifier of images must exceed.

    python -m benchmarks.nearest_neighbor [rlmaml/Glyphs-v0] [--way 5] [--shots 1] [--queries 10]
    python -m benchmarks.nearest_neighbor ... --run RUN

Of the nearest support example, by pixels; or, with a run of convolutional networks, of the nearest
prototype (Snell et al. 2017, section 2.3): the mean of a class's features, which are what the last
layer of the network is given. Distances are Euclidean. A task's support set and queries are seen
together, by transductive batch norm. Tasks are of the test split.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import nn

import rlmaml
from runners.evaluation import statistics

TASKS = 600


Features = Callable[[np.ndarray], np.ndarray]
"""Images [B, *x] -> [B, features]."""


def accuracies(
    family,
    tasks: int,
    shots: int,
    queries: int,
    seed: int,
    features: Features | None = None,
) -> np.ndarray:
    """The share of a task's queries whose nearest class is theirs, [tasks].

    Args:
        family: few-shot tasks of images.
        tasks: to draw of the test split.
        shots: support examples of a class.
        queries: query examples of a class.
        seed: draws tasks and examples.
        features: of which a class's mean stands for it; if None the images as they are, of which
            each stands for its class.
    """
    rng = np.random.default_rng(seed)
    found = []
    for task in family.sample(tasks, rng, "test"):
        (x, y), (asked, answers) = family.episode(task[None], shots, queries, rng)
        both, labels = np.concatenate([x[0], asked[0]]), y[0]
        flat = both.reshape(len(both), -1) if features is None else features(both)
        known, unknown = flat[: len(labels)], flat[len(labels) :]
        if features is not None:
            classes = np.unique(labels)
            known, labels = np.stack([known[labels == k].mean(0) for k in classes]), classes
        distance = np.square(unknown[:, None] - known).sum(-1)
        found.append(np.mean(labels[distance.argmin(1)] == answers[0]))
    return np.array(found)


def features_of(run: Path) -> Features:
    """What the last layer of a run's convolutional network is given."""
    learner = rlmaml.load(run)
    module: nn.Module | None = None

    def features(images: np.ndarray) -> np.ndarray:
        nonlocal module
        if module is None:
            module = learner.adapt(images, np.zeros(len(images), int), steps=0).module
            if not isinstance(module, rlmaml.ConvClassifier):
                raise SystemExit(f"{run} is no run of a convolutional network of ours.")
            module.logits = nn.Identity()
        with torch.no_grad():
            return module(torch.from_numpy(images)).logits.numpy()

    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("id", nargs="?", default="rlmaml/Glyphs-v0")
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kwargs", type=json.loads, default={}, help="of the environment, as JSON")
    parser.add_argument("--run", type=Path, help="run folder of a convolutional network")
    given = parser.parse_args()
    env = gymnasium.make(given.id, way=given.way, **given.kwargs)
    family = env.unwrapped.examples
    features = given.run and features_of(given.run)
    found = accuracies(family, TASKS, given.shots, given.queries, given.seed, features)
    half = statistics.over_tasks(found)
    print(f"{100 * found.mean():.1f} ± {100 * half:.1f} % on {TASKS} tasks")


if __name__ == "__main__":
    main()
