"""Checks of what commands are given."""

import re

import pytest

from rlmaml.errors import ConfigError
from runners.errors import require_at_least


def test_what_is_large_enough_or_not_given_passes():
    require_at_least(1, tasks=1, episodes=7, steps=None)
    require_at_least(0, steps=0)


@pytest.mark.parametrize("value", [0, -3])
def test_the_first_that_is_too_small_is_named_as_the_option_is(value):
    message = f"--tasks-per-kind must be at least 1, got {value}."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        require_at_least(1, episodes=4, tasks_per_kind=value, steps=-9)
