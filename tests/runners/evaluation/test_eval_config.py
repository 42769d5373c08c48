"""What an evaluation draws by default, and what does not go together."""

import dataclasses

import pytest

from rlmaml.errors import ConfigError
from runners.evaluation.eval_config import EvalConfig
from runners.presets import PRESETS

EPISODES, EXAMPLES = PRESETS["navigation"][1], PRESETS["sinusoid"][1]


def test_sizes_are_those_of_the_kind_of_data():
    assert EvalConfig().sizes(EPISODES)[:2] == (40, 3)
    assert EvalConfig().sizes(EXAMPLES) == (600, 10, 20, EXAMPLES.examples.queries)
    assert EvalConfig(tasks=7, steps=0, queries=9).sizes(EXAMPLES) == (7, 0, 20, 9)
    assert EvalConfig().sizes(EPISODES).episodes == 20
    assert EvalConfig(episodes=5).sizes(EPISODES).episodes == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 0}, "--tasks must be at least 1, got 0"),
        ({"episodes": 0}, "--episodes must be at least 1"),
        ({"queries": 0}, "--queries must be at least 1"),
        ({"steps": -1}, "--steps must be at least 0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"deterministic": True}, "--deterministic is of episodes"),
        ({"episodes": 20}, "--episodes is of episodes, and the run learned from examples"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        EvalConfig(**options).sizes(EXAMPLES)


def test_queries_are_of_examples():
    with pytest.raises(ConfigError, match="--queries is of examples, and the run learned from epi"):
        EvalConfig(queries=5).sizes(EPISODES)


def test_learned_step_sizes_are_not_replaced():
    learned = EPISODES.with_algorithm("meta-sgd")
    with pytest.raises(ConfigError, match="would not replace the step sizes"):
        EvalConfig(step_size=0.1).sizes(learned)
    EvalConfig(step_size=0.1).sizes(dataclasses.replace(EPISODES, seed=1))
