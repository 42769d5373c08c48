"""Baselines of runs."""

from runners.evaluation.baselines import baseline_config
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm


def test_baselines_have_the_presets_optimizer():
    config = PRESETS["sinusoid"][1]
    for name in ("pretrained", "oracle"):
        found = baseline_config(with_algorithm(config, "reptile"), name)
        assert found.optimizer == config.optimizer
        assert found.inner.step_size == config.inner.step_size
