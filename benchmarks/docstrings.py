"""Docstrings without a network: the nearest class by words, TF-IDF weighted.

    python -m benchmarks.docstrings

Each class is the mean of its shots' vectors, log(1 + count) times the inverse document frequency
among the training classes, of length 1; a query goes to the class of the largest cosine. It may
use all words, or those of the networks' vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.few_shot.docstrings import docstrings
from envs.few_shot.text import UNKNOWN, TextTasks
from rlmaml.rng import Phase, generator

TASKS, SHOTS, QUERIES = 300, 5, 10


def main() -> None:
    for name, vocabulary in (("the preset's 2,000 ids", 2000), ("all training words", 1_000_000)):
        family = docstrings(vocabulary=vocabulary)
        for split in ("validation", "test"):
            tasks = family.sample(TASKS, generator(0, 0, Phase.EVALUATION_TASKS), split)
            support, query = family.episode(tasks, SHOTS, QUERIES, generator(0))
            unknown = (query[0] == UNKNOWN).sum() / (query[0] > 0).sum()
            right = nearest(family, support[0], query[0])
            half = 1.96 * right.std() / np.sqrt(TASKS)
            print(f"{name}, {split}: {right.mean():.3f} ± {half:.3f}; unknown {unknown:.1%}")


def nearest(
    family: TextTasks, support: NDArray[np.int64], query: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The share of queries right in each task, `[N]`."""
    size, way = len(family.vocabulary), family.way
    known = family.texts("train")
    weights = np.log(len(known) / (1 + (counts(known, size) > 0).sum(0)))
    weights[: UNKNOWN + 1] = 0
    right = np.empty(len(support))
    for i in range(len(support)):
        shots, queries = (unit(np.log1p(counts(x[i], size)) * weights) for x in (support, query))
        means = unit(shots.reshape(-1, way, size).mean(0))  # classes take turns
        chosen = (queries @ means.T).argmax(1)
        right[i] = (chosen == np.arange(len(chosen)) % way).mean()
    return right


def counts(tokens: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Count how often each of `size` ids is in each text `[B, length]`, `[B, size]`."""
    table = np.zeros((len(tokens), size), dtype=np.float32)
    np.add.at(table, (np.arange(len(tokens))[:, None], tokens), 1)
    return table


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


if __name__ == "__main__":
    main()
