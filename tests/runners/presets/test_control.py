"""Presets of control: what their descriptions say, and what those of one family share."""

import re
from operator import attrgetter

import gymnasium
import numpy as np
import pytest

from runners.presets.control import PRESETS

ROBOTS = [name for name in PRESETS if name.startswith(("half-cheetah", "ant"))]


def environment(name):
    config = PRESETS[name].config
    return gymnasium.make(config.env.id, **config.env.kwargs).unwrapped


def seconds(discount, dt):
    """How far ahead advantages look."""
    return dt / (1 - discount)


def test_all_learn_from_rewards_and_by_a_trust_region():
    for name, (_, config) in PRESETS.items():
        assert (config.data, config.outer) == ("episodes", "trust-region"), name
        assert not config.env.observe_task, name


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robots_time_step_and_goals_are_those_of_its_description(name):
    description, env = PRESETS[name].description, environment(name)
    (dt,) = re.findall(r"dt (\d*\.\d+) s", description)
    assert env.dt == pytest.approx(float(dt))
    goals = re.findall(r"goal velocity of (\d+) to (\d+) m/s", description)
    if name.endswith("vel"):
        assert [(float(env.task_space.low[0]), float(env.task_space.high[0]))] == [
            (float(low), float(high)) for low, high in goals
        ]
    else:
        assert not goals
        assert env.task_space.n == 2


@pytest.mark.parametrize("name", ROBOTS)
def test_inner_steps_look_a_fraction_of_a_second_ahead_and_the_outer_step_further(name):
    """Whatever the time step: a discount is by the step."""
    config, dt = PRESETS[name].config, environment(name).dt
    inner = seconds(config.inner_advantages.discount, dt)
    outer = seconds(config.outer_advantages.discount, dt)
    assert 0.05 < inner < 1
    assert outer > 5 * inner
    assert config.trust_region.fisher_fraction == 0.1


@pytest.mark.parametrize(
    ("one", "other"), [("half-cheetah-dir", "half-cheetah-vel"), ("ant-dir", "ant-vel")]
)
def test_a_robot_learns_goals_of_either_kind_over_the_same_time(one, other):
    first, second = (PRESETS[name].config for name in (one, other))
    assert environment(one).dt == environment(other).dt
    for name in ("horizon", "episodes", "inner.steps", "trust_region"):
        assert attrgetter(name)(first) == attrgetter(name)(second), name
    for name in ("discount", "gae_lambda"):
        for advantages in ("inner_advantages", "outer_advantages"):
            assert len({getattr(getattr(c, advantages), name) for c in (first, second)}) == 1


def test_goal_velocities_are_learned_in_units_of_the_reward():
    """Scaled, advantages of a goal that is met ask for as large a step as any."""
    config = PRESETS["half-cheetah-vel"].config
    assert not config.inner_advantages.normalize
    assert not config.outer_advantages.normalize


def test_the_bandit_and_the_table_are_as_large_as_their_descriptions_say():
    (arms,) = re.findall(r"(\d+) arms", PRESETS["bandit"].description)
    assert environment("bandit").action_space.n == int(arms)
    ((states, actions),) = re.findall(
        r"(\d+) states and (\d+) actions", PRESETS["tabular"].description
    )
    env = environment("tabular")
    assert env.observation_space.n == int(states)
    assert env.action_space.n == int(actions)


@pytest.mark.parametrize("name", ["bandit", "sinusoid-episodes"])
def test_one_step_is_a_whole_episode(name):
    config = PRESETS[name].config
    env = gymnasium.make(config.env.id, **config.env.kwargs)
    env.unwrapped.set_task(env.unwrapped.sample_tasks(1, np.random.default_rng(0))[0])
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(env.action_space.sample())
    assert terminated or truncated
    assert config.horizon == 1


def test_a_points_noise_is_of_the_size_of_its_steps():
    """A policy with more only diffuses: the goal is found no better by its mean."""
    config, env = PRESETS["navigation"].config, environment("navigation")
    assert 0.5 < np.exp(config.policy.init_log_std) / env.action_space.high[0] < 2
    assert config.policy.min_log_std < config.policy.init_log_std
