"""A configuration's fields as options: what was given comes back, and nothing else."""

from dataclasses import dataclass, field

import pytest
import tyro

from rlmaml.config import TrainConfig, flat
from runners.command_line.options import STYLE, field_sentences, options_type


def parse(*words, config=None):
    return flat(tyro.cli(options_type(config or TrainConfig()), args=list(words), config=STYLE))


def test_nothing_given_is_nothing_said():
    assert parse() == {}


def test_what_was_given_comes_back_even_if_it_is_the_default():
    given = parse("--iterations", "100", "--inner.steps", "3", "--policy.hidden", "8", "4")
    assert given == {"iterations": 100, "inner.steps": 3, "policy.hidden": (8, 4)}
    assert parse("--tf32", "True", "--track", "wandb", "mlflow", "--chunk-size", "None") == {
        "tf32": True,
        "track": ("wandb", "mlflow"),
        "chunk_size": None,
    }


def test_dictionaries_are_json():
    assert parse("--env.kwargs", '{"frame_skip": 1}') == {"env.kwargs": {"frame_skip": 1}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env.kwargs", "[1]"], "JSON object"),
        (["--tasks", "many"], "many"),
        (["--wings", "2"], "Unrecognized"),
        (["--data", "films"], "films"),
    ],
)
def test_what_is_no_value_is_refused_with_code_2(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        parse(*words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_every_field_has_a_sentence_and_the_help_has_it_and_the_default(capsys):
    assert all(field_sentences(TrainConfig).values())
    with pytest.raises(SystemExit):
        parse("--help", config=TrainConfig(iterations=123))
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Meta-iterations to train for. (default: 123)" in text
    assert "--preset" not in text


@dataclass(frozen=True)
class Own:
    """Settings with a field called like one that chooses options."""

    outer: float = 1.0
    """A field of one's own."""


@dataclass(frozen=True)
class Holder:
    """A configuration."""

    outer: str = "chosen elsewhere"
    """Which outer step."""
    settings: Own = field(default_factory=Own)
    """Its settings."""


def test_fields_that_choose_options_are_hidden_at_the_top_alone():
    parsed = tyro.cli(options_type(Holder()), args=["--settings.outer", "2"], config=STYLE)
    assert flat(parsed) == {"settings.outer": 2.0}
    with pytest.raises(SystemExit):
        tyro.cli(options_type(Holder()), args=["--outer", "x"], config=STYLE)
