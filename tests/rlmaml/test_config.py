"""Configurations: JSON, changes, versions."""

from dataclasses import replace

import pytest

from rlmaml.errors import ConfigError
from runners.config import TrainConfig, changes
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm


def test_a_config_of_another_version_is_refused():
    with pytest.raises(ConfigError, match="wings"):
        TrainConfig.from_dict({"wings": 2})
    assert changes(TrainConfig(), TrainConfig(iterations=7)) == []
    assert changes(TrainConfig(), TrainConfig(seed=7)) == ["seed: 0 -> 7"]


def test_settings_survive_json():
    config = with_algorithm(PRESETS["navigation"][1], "promp")
    config = replace(config, algorithm_settings=replace(config.algorithm_settings, clip=0.2))
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.outer == "optimizer"
    with pytest.raises(ValueError, match="settings of another method"):
        replace(config, algorithm="maml")
