"""Presets of labeled examples: what their descriptions say, and what those of one family share."""

import re

import gymnasium
import pytest

from runners.presets.few_shot import PRESETS

GLYPHS = ("glyphs", "glyphs-5-shot", "glyphs-20-way")
OF_HELD_OUT_CLASSES = ("digits", *GLYPHS, "images", "docstrings", "text")


@pytest.fixture
def family(image_folder, text_table):
    """The family of a preset, of files that the tests have."""
    roots = {"images": image_folder, "text": text_table}

    def make(name):
        config = PRESETS[name].config
        kwargs = dict(config.env.kwargs)
        if name in roots:
            kwargs["root"] = str(roots[name])
        return gymnasium.make(config.env.id, **kwargs).unwrapped.examples

    return make


def test_all_learn_from_examples_and_by_an_optimizer():
    for name, (_, config) in PRESETS.items():
        assert (config.data, config.outer) == ("examples", "optimizer"), name


@pytest.mark.parametrize(
    "name",
    PRESETS,
)
def test_shots_and_classes_are_those_of_the_description(name, family):
    description, config = PRESETS[name]
    shots = re.findall(r"(\d+)-shot", description)
    assert [int(count) for count in shots] in ([], [config.examples.shots])
    ways = re.findall(r"(\d+)-way", description)
    assert bool(ways) == (name in OF_HELD_OUT_CLASSES)
    outputs = family(name).outputs
    assert [int(count) for count in ways] in ([], [getattr(outputs, "n", None)])
    classifies = isinstance(outputs, gymnasium.spaces.Discrete)
    assert description.startswith("Classification" if classifies else "Regression")


@pytest.mark.parametrize("name", PRESETS)
def test_checkpoints_are_chosen_by_classes_never_trained_on_where_there_are_such(name):
    assert bool(PRESETS[name].config.validation_tasks) == (name in OF_HELD_OUT_CLASSES)


@pytest.mark.parametrize("name", PRESETS)
def test_a_run_ends_with_a_line_and_a_checkpoint(name):
    config = PRESETS[name].config
    assert config.iterations % config.log_every == 0
    assert config.iterations % config.checkpoint_every == 0
    assert config.checkpoint_every % config.log_every == 0


def test_sinusoids_are_learned_as_in_the_maml_paper():
    """Section 5.1: 10 shots, one step of 0.01, two hidden layers of 40 and ReLU, Adam."""
    config = PRESETS["sinusoid"].config
    assert config.examples.shots == 10
    assert (config.inner.steps, config.inner.step_size) == (1, 0.01)
    assert (config.policy.hidden, config.policy.activation) == ((40, 40), "relu")
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("Adam", 1e-3)


@pytest.mark.parametrize(("own", "packaged"), [("images", "digits"), ("text", "docstrings")])
def test_files_of_the_users_are_learned_as_those_of_the_package(own, packaged):
    """With their own sizes; the root is for the user to give."""
    first, second = (PRESETS[name].config for name in (own, packaged))
    for name in ("inner", "optimizer", "tasks", "text", "validation_tasks"):
        assert getattr(first, name) == getattr(second, name), name
    assert "root" not in first.env.kwargs
    assert "(env.kwargs: root)" in PRESETS[own].description
