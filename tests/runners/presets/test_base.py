"""What every preset has, whatever it is of."""

import gymnasium
import pytest

import envs  # noqa: F401  registers the environments
from runners.presets import PRESETS, control, families, few_shot, list_presets, maml_paper
from runners.presets.base import Preset

GROUPS = (control.PRESETS, families.PRESETS, maml_paper.PRESETS, few_shot.PRESETS)


def test_no_preset_hides_another_of_its_name():
    assert sum(map(len, GROUPS)) == len(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_line_and_a_configuration_of_its_name(name):
    preset = PRESETS[name]
    assert isinstance(preset, Preset)
    assert preset.config.preset == name
    assert preset.config.algorithm == "maml"
    assert preset.description[0].isupper()
    assert "\n" not in preset.description
    assert preset.description[-1] not in ". "


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_of_an_environment_that_there_is_and_of_its_time_limit(name):
    config = PRESETS[name].config
    spec = gymnasium.spec(config.env.id)  # or gymnasium raises
    if config.data == "episodes":
        assert config.horizon <= spec.max_episode_steps


def test_descriptions_tell_presets_apart():
    assert len({preset.description for preset in PRESETS.values()}) == len(PRESETS)


def test_the_list_has_a_line_of_each():
    lines = list_presets().splitlines()
    for name, (description, _) in PRESETS.items():
        assert sum(line.split("  ")[0].strip() == name for line in lines) == 1
        assert any(description in line for line in lines)
