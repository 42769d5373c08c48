"""Settings of the inner loop, and what is collected without being asked otherwise."""

import math

import pytest

from rlmaml.algorithms.settings import DataSpec, InnerConfig
from rlmaml.errors import ConfigError


@pytest.mark.parametrize("name", ["step_size", "later_step_share"])
@pytest.mark.parametrize(
    ("size", "must"), [(0.0, "positive"), (-0.1, "positive"), (math.nan, "finite")]
)
def test_sizes_that_are_not_positive_are_refused(name, size, must):
    with pytest.raises(ConfigError, match=rf"inner\.{name} must be {must}, got {size}"):
        InnerConfig(**{name: size})


def test_fewer_than_no_steps_are_refused():
    with pytest.raises(ConfigError, match=r"inner\.steps must be zero or more, got -1"):
        InnerConfig(steps=-1)
    assert InnerConfig(steps=0).steps == 0


def test_a_loss_is_chosen_by_naming_one_that_is_not_the_default():
    assert not InnerConfig(steps=4, step_size=0.3, hessian="separate").chooses_loss
    assert InnerConfig(surrogate="dice").chooses_loss
    assert InnerConfig(reduction="episodes").chooses_loss


def test_data_of_one_set_a_task_unless_an_algorithm_says_more():
    assert DataSpec(3) == DataSpec(3, False, False, 1, False)
