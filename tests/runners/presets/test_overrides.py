"""What an algorithm has different on one preset alone."""

import pytest

from rlmaml import algorithms
from runners.presets import PRESETS
from runners.presets.overrides import OVERRIDES, with_algorithm

RECORDED = {
    ("anil", "sinusoid"): {"inner.steps": 5, "inner.step_size": 0.05},
    ("meta-transfer", "sinusoid"): {"inner.steps": 5, "inner.step_size": 0.05},
    ("imaml", "sinusoid"): {
        "algorithm_settings.strength": 0.3,
        "inner.step_size": 0.005,
        "inner.steps": 10,
        "outer": "optimizer",
    },
    ("imaml", "sinusoid-frequency"): {
        "algorithm_settings.strength": 0.3,
        "inner.step_size": 0.005,
        "inner.steps": 10,
    },
    ("imaml", "sinusoid-episodes"): {
        "algorithm_settings.strength": 5.0,
        "inner.step_size": 0.1,
        "outer": "optimizer",
    },
    ("bayesian-maml", "sinusoid"): {
        "algorithm_settings.loss": "chaser",
        "outer": "optimizer",
        "inner.step_size": 0.025,
    },
    ("bayesian-maml", "sinusoid-frequency"): {"algorithm_settings.loss": "chaser"},
    ("bayesian-maml", "sinusoid-episodes"): {"algorithm_settings.loss": "query"},
    ("bayesian-maml", "digits"): {"algorithm_settings.loss": "query"},
    ("pretraining", "digits"): {"algorithm_settings.classes": True},
    ("pretraining", "images"): {"algorithm_settings.classes": True},
    ("pretraining", "glyphs"): {"algorithm_settings.classes": True},
    ("pretraining", "glyphs-5-shot"): {"algorithm_settings.classes": True},
    ("pretraining", "glyphs-20-way"): {"algorithm_settings.classes": True},
    ("pretraining", "docstrings"): {"algorithm_settings.classes": True},
    ("pretraining", "text"): {"algorithm_settings.classes": True},
    ("pretraining", "linear-classification"): {"algorithm_settings.classes": False},
    ("maml++", "sinusoid"): {
        "algorithm_settings.learn_step_sizes": True,
        "algorithm_settings.multi_step_iterations": 10_500,
        "algorithm_settings.first_order_iterations": 7_000,
        "algorithm_settings.cosine_iterations": 70_000,
        "algorithm_settings.per_step_norm": False,
    },
    ("maml++", "half-cheetah-dir"): {"algorithm_settings.cosine_iterations": 0},
    ("alpha-maml", "half-cheetah-dir"): {"outer": "optimizer"},
    ("pretraining", "sinusoid"): {"algorithm_settings.classes": False},
    ("maml++", "digits"): {"algorithm_settings.per_step_norm": True},
    ("maml++", "images"): {"algorithm_settings.per_step_norm": True},
    ("maml++", "docstrings"): {"algorithm_settings.per_step_norm": False},
    ("cavia", "digits"): {
        "algorithm_settings.contexts": 100,
        "inner.steps": 2,
        "inner.step_size": 5.0,
    },
    ("cavia", "images"): {
        "algorithm_settings.contexts": 100,
        "inner.steps": 2,
        "inner.step_size": 1.0,
    },
    ("cavia", "sinusoid"): {"algorithm_settings.contexts": 5, "inner.step_size": 1.0},
}


def value(config, option):
    for name in option.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize(("name", "preset"), RECORDED)
def test_an_algorithm_has_the_settings_recorded_for_a_preset(name, preset):
    config = with_algorithm(PRESETS[preset][1], name)
    expected = RECORDED[name, preset]
    assert {option: value(config, option) for option in expected} == expected


def test_every_row_names_an_algorithm_and_a_preset_and_is_recorded():
    for name, preset in OVERRIDES:
        assert name in algorithms.TABLE
        assert PRESETS[preset][1].preset == preset
        assert (name, preset) in RECORDED


def test_given_settings_stay_where_no_row_says_otherwise():
    kind = algorithms.get_algorithm("cavia")
    config = with_algorithm(PRESETS["sinusoid"][1], "cavia", kind.Settings(contexts=7))
    assert config.algorithm_settings == kind.Settings(contexts=7)
