"""Settings of an algorithm that hold on one preset alone, found by trying."""

from __future__ import annotations

from rlmaml.algorithms.settings import AlgorithmSettings
from rlmaml.config import Options, TrainConfig

_HEAD_ALONE = {"inner.steps": 5, "inner.step_size": 0.05}  # longer steps, and more of them
_LEAST_BAD = {"algorithm_settings.strength": 0.3, "inner.step_size": 0.005}
_CHASER = {"algorithm_settings.loss": "chaser", "outer": "optimizer"}  # improves after K steps too
_OWN_LABELS = {"algorithm_settings.classes": True}
_PER_STEP_NORM = {"algorithm_settings.per_step_norm": True}
_CONTEXTS = {"algorithm_settings.contexts": 100, "inner.steps": 2}  # as in the paper, of images

OVERRIDES: dict[tuple[str, str], Options] = {
    ("anil", "sinusoid"): _HEAD_ALONE,
    ("meta-transfer", "sinusoid"): _HEAD_ALONE,
    ("imaml", "sinusoid"): _LEAST_BAD,
    ("imaml", "sinusoid-frequency"): _LEAST_BAD,
    ("bayesian-maml", "sinusoid"): _CHASER,
    ("bayesian-maml", "sinusoid-frequency"): _CHASER,
    ("pretraining", "digits"): _OWN_LABELS,
    ("pretraining", "images"): _OWN_LABELS,
    ("pretraining", "glyphs"): _OWN_LABELS,
    ("pretraining", "glyphs-5-shot"): _OWN_LABELS,
    ("pretraining", "glyphs-20-way"): _OWN_LABELS,
    ("pretraining", "docstrings"): _OWN_LABELS,
    ("pretraining", "text"): _OWN_LABELS,
    ("maml++", "digits"): _PER_STEP_NORM,
    ("maml++", "images"): _PER_STEP_NORM,
    # The paper's steps of 0.1 learn nothing in as few iterations.
    ("cavia", "digits"): {**_CONTEXTS, "inner.step_size": 5.0},
    ("cavia", "images"): _CONTEXTS,
}
"""Values of options by (algorithm, preset), on top of `Algorithm.default_overrides`."""


def with_algorithm(
    config: TrainConfig, name: str, settings: AlgorithmSettings | None = None
) -> TrainConfig:
    """The same run by another algorithm, with what that algorithm has different on its preset.

    Args:
        config: the run; its `preset` says which rows of `OVERRIDES` apply.
        name: of the algorithm.
        settings: its own; the defaults if None.

    Raises:
        ConfigError: an unknown algorithm, or one that does not go with the rest.
    """
    changed = config.with_algorithm(name, settings)
    return changed.changed(OVERRIDES.get((name, config.preset), {}))
