"""Tasks that are drawn once, where a paper has a list of so many to train on and to test on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlmaml.rng import Phase, generator

_KEYS = {"train": Phase.TASKS, "test": Phase.EVALUATION_TASKS}


class FixedTasks:
    """Draws from lists of tasks, which are drawn by a seed of their own when first asked for.

    Of n tasks from a list of m, none comes twice before each has come once. The code of PEARL
    (Rakelly et al. 2019) trains on a list, and tests on another.

    Args:
        sample: the family's law, `(n, rng, split)` to tasks `[n, ...]`.
        seed: of the lists.
        counts: lengths of the lists, by split; of others new tasks are drawn.
    """

    def __init__(
        self, sample: Callable[..., np.ndarray], seed: int, counts: dict[str, int]
    ) -> None:
        self._sample, self._seed, self._counts = sample, seed, counts
        self._lists: dict[str, np.ndarray] = {}

    def __call__(self, n: int, rng: np.random.Generator, split: str = "train") -> np.ndarray:
        """Draw n tasks, `[n, ...]`: of the split's list, or new ones if it has none."""
        count = self._counts.get(split)
        if count is None:
            return self._sample(n, rng, split=split)
        if split not in self._lists:
            own = generator(self._seed, 0, _KEYS[split])
            self._lists[split] = self._sample(count, own, split=split)
        order = [rng.permutation(count) for _ in range(-(-n // count))]
        return self._lists[split][np.concatenate(order)[:n]]
