"""Numbers and names in words."""

import math

import pytest

from runners import formatting


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-1.25, 2, "−1.25"),
        (-0.04, 1, "0.0"),
        (3, 0, "3"),
        (math.nan, 1, "diverged"),
        (-math.inf, 1, "diverged"),
    ],
)
def test_numbers(value, decimals, text):
    assert formatting.number(value, decimals) == text


def test_decimals_are_those_of_the_metric():
    assert formatting.digits("return", [0.5, -12.0]) == 1
    assert formatting.digits("return", [0.5, -9.9]) == 3
    assert formatting.digits("mse", [100.0]) == 3


def test_words():
    assert formatting.listed(["a"]) == "a"
    assert formatting.listed([0, 1, 2]) == "0, 1 and 2"
    assert [formatting.steps(k) for k in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert formatting.kind("3") == "task 3"
    assert formatting.kind("forward") == "forward"
    assert formatting.amount(28_800_000) == "28.8 million"
    assert formatting.amount(1920) == "1,920"
    assert formatting.share(-0.25) == "−25%"
    assert formatting.share(math.nan) == "–"
    durations = [formatting.duration(seconds) for seconds in (1, 40, 150, 9000)]
    assert durations == ["1 second", "40 seconds", "2.5 minutes", "2.5 hours"]
