"""Observation, reward and end of a robot's step, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.locomotion.robots.ant import Ant
from envs.locomotion.tasks import Direction
from tests.helpers.robots import judged


def test_a_divergence_is_no_fall():
    # Where a simulation blew up, the state is no longer its own: lying on the ground is no fall.
    result = judged(Ant(), Direction(), 0, 1.0, [0.5], height=0.0, diverged=True)
    assert not result.terminations[0]
    assert result.diverged[0]
    assert judged(Ant(), Direction(), 0, 1.0, [0.5], height=0.0).terminations[0]


def test_a_diverged_step_pays_nothing_and_keeps_the_observation():
    result = judged(Ant(), Direction(), 0, 1.0, [0.5], diverged=True)
    assert result.rewards.tolist() == [0.0]
    assert all(values.tolist() == [0.0] for values in result.details.values())
    np.testing.assert_array_equal(result.observations, -5.0)  # the one before


def test_parts_of_the_reward_sum_to_it():
    result = judged(Ant(contact_cost_weight=0.5), Direction(), 1, 1.5, [0.5, 1.0], forces=0.1)
    parts = [value for name, value in result.details.items() if name.startswith("reward_")]
    assert sum(parts) == pytest.approx(result.rewards)
    assert result.details["reward_forward"] == [-1.5]
    for values in result.details.values():
        assert not np.shares_memory(values, result.rewards)
