"""Bandits and random MDPs: what is drawn follows the task's tables."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.tabular import BernoulliBandits, GaussianBandits, RandomMDPs, transition

M = 4000


def make(env_id, num_envs=M, **parameters):
    return gymnasium.make_vec(
        f"rlmaml/{env_id}-v0", num_envs=num_envs, autoreset_mode="Disabled", **parameters
    )


def table(transitions, means):
    """One task from a row of probabilities and a mean for every state and action."""
    return np.concatenate([transitions, np.expand_dims(means, -1)], axis=-1)


# State 2 cannot be reached from state 0 by action 0; the last state by action 1 of state 1.
TRANSITIONS = np.array(
    [
        [[0.5, 0.2, 0.0, 0.3], [0.1, 0.2, 0.3, 0.4]],
        [[0.0, 0.0, 1.0, 0.0], [0.6, 0.3, 0.1, 0.0]],
        [[0.25, 0.25, 0.25, 0.25], [0.0, 0.9, 0.0, 0.1]],
        [[0.7, 0.1, 0.1, 0.1], [0.05, 0.05, 0.45, 0.45]],
    ]
)
MEANS = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 0.0], [4.0, 1.5]])


def test_next_states_and_rewards_follow_the_table():
    steps = 40
    sizes = {"num_states": 4, "num_actions": 2}
    vector = make("TabularMDP", **sizes, reward_noise=0.5, max_episode_steps=steps + 1)
    vector.set_tasks(np.broadcast_to(table(TRANSITIONS, MEANS), (M, 4, 2, 5)))
    states, _ = vector.reset(seed=0)
    assert (states == 0).all()
    rng = np.random.default_rng(1)
    counts, paid = np.zeros((4, 2, 4)), np.zeros((4, 2))
    squares = 0.0
    for _ in range(steps):
        actions = rng.integers(2, size=M)
        following, rewards, *_ = vector.step(actions)
        np.add.at(counts, (states, actions, following), 1)
        np.add.at(paid, (states, actions), rewards)
        squares += np.square(rewards - MEANS[states, actions]).sum()
        states = following
    visits = counts.sum(axis=-1)
    assert visits.min() > 2000
    assert (counts[TRANSITIONS == 0] == 0).all()
    expected = visits[..., None] * TRANSITIONS
    possible = TRANSITIONS > 0
    chi_square = (np.square(counts - expected)[possible] / expected[possible]).sum()
    freedom = possible.sum() - 8
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)
    errors = (paid / visits - MEANS) * np.sqrt(visits) / 0.5  # standard normal each
    assert np.abs(errors).max() < 4.5
    assert np.sqrt(squares / (M * steps)) == pytest.approx(0.5, rel=0.01)


def test_the_uniform_number_chooses_by_the_inverse_cdf():
    family = RandomMDPs(4, 2, 0.0)
    tasks = np.broadcast_to(table(TRANSITIONS, MEANS), (6, 4, 2, 5))
    uniforms = np.array([0.0, 0.499, 0.5, 0.699, 0.7, np.nextafter(1.0, 0.0)])
    chances = np.stack([uniforms, np.ones(6)], axis=1)
    zeros = np.zeros(6, dtype=np.int64)
    outcome = transition(family, tasks, zeros, zeros, chances)
    assert outcome.observations.tolist() == [0, 0, 1, 1, 3, 3]
    np.testing.assert_array_equal(outcome.rewards, 1.0)
    # A sum a little beside one leads to no state that cannot be reached.
    short = TRANSITIONS * (1 - 9e-7)
    tasks = family.check(np.broadcast_to(table(short, MEANS), (6, 4, 2, 5)), 6)
    chances[:, 0] = np.nextafter(1.0, 0.0)
    outcome = transition(family, tasks, zeros + 1, zeros + 1, chances)
    assert outcome.observations.tolist() == [2] * 6


def test_a_step_takes_one_uniform_and_one_normal_number():
    for noise in (0.0, 2.0):
        env = gymnasium.make(
            "rlmaml/TabularMDP-v0", num_states=4, num_actions=2, reward_noise=noise
        )
        state, _ = env.reset(seed=5, options={"task": table(TRANSITIONS, MEANS)})
        rng = np.random.default_rng(5)
        for action in (0, 1, 1, 0, 1):
            following, reward, *_ = env.step(action)
            cdf = np.cumsum(TRANSITIONS[state, action])
            assert following == np.searchsorted(cdf, rng.random() * cdf[-1], side="right")
            assert reward == MEANS[state, action] + noise * rng.standard_normal()
            state = following


def test_regret_and_tables_by_hand():
    vector = make("TabularMDP", num_envs=3, num_states=4, num_actions=2)
    vector.set_tasks(np.broadcast_to(table(TRANSITIONS, MEANS), (3, 4, 2, 5)))
    vector.reset(seed=0)
    states, *_, info = vector.step(np.array([0, 1, 1]))
    assert info["regret"].tolist() == [0.0, 3.0, 3.0]
    *_, info = vector.step(np.array([1, 0, 1]))
    by_hand = MEANS.max(axis=1)[states] - MEANS[states, [1, 0, 1]]
    np.testing.assert_array_equal(info["regret"], by_hand)
    assert not info["diverged"].any()
    transitions, means = RandomMDPs(4, 2).tables(vector.tasks)
    np.testing.assert_array_equal(transitions[1], TRANSITIONS)
    np.testing.assert_array_equal(means[2], MEANS)

    bandit = gymnasium.make("rlmaml/GaussianBandit-v0", num_arms=3)
    bandit.reset(seed=0, options={"task": np.array([0.5, -1.0, 2.0])})
    for arm, regret in enumerate((1.5, 3.0, 0.0)):
        assert bandit.step(arm)[4]["regret"] == regret
    transitions, means = GaussianBandits(3).tables(np.array([[0.5, -1.0, 2.0]]))
    assert transitions.tolist() == [[[[1.0], [1.0], [1.0]]]]
    assert means.tolist() == [[[0.5, -1.0, 2.0]]]


def test_bernoulli_arms_pay_one_or_nothing_at_their_rate():
    vector = make("BernoulliBandit", num_envs=5 * M, num_arms=5)
    rates = np.array([0.0, 0.1, 0.5, 0.8, 1.0])
    vector.set_tasks(np.broadcast_to(rates, (5 * M, 5)))
    vector.reset(seed=0)
    arms = np.repeat(np.arange(5), M)
    states, rewards, terminations, truncations, _ = vector.step(arms)
    assert (states == 0).all()
    assert truncations.all()
    assert not terminations.any()
    assert set(np.unique(rewards)) == {0.0, 1.0}
    measured = rewards.reshape(5, M).mean(axis=1)
    assert (np.abs(measured - rates) <= 4.5 * np.sqrt(rates * (1 - rates) / M)).all()


def test_gaussian_arms_pay_their_mean_and_noise():
    vector = make("GaussianBandit", num_arms=2, noise_scale=0.3)
    vector.set_tasks(np.broadcast_to([-1.0, 2.0], (M, 2)))
    vector.reset(seed=0)
    rewards = vector.step(np.repeat([0, 1], M // 2))[1].reshape(2, M // 2)
    np.testing.assert_allclose(rewards.mean(axis=1), [-1.0, 2.0], atol=4.5 * 0.3 / np.sqrt(M / 2))
    np.testing.assert_allclose(rewards.std(axis=1), 0.3, rtol=0.08)
    silent = make("GaussianBandit", num_envs=2, num_arms=2, noise_scale=0.0)
    silent.reset(seed=0)
    assert silent.step(np.array([0, 1]))[1].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_laws_of_tasks(split):
    rng = np.random.default_rng(0)
    tasks = RandomMDPs(3, 2).sample(5000, rng, split)
    assert tasks.shape == (5000, 3, 2, 4)
    transitions, means = tasks[..., :-1], tasks[..., -1]
    np.testing.assert_allclose(transitions.sum(axis=-1), 1.0, rtol=1e-12)
    # Each probability of a flat Dirichlet over 3 is Beta(1, 2): mean 1/3, variance 1/18.
    np.testing.assert_allclose(transitions.mean(axis=(0, 1, 2)), 1 / 3, atol=0.006)
    np.testing.assert_allclose(transitions.var(axis=(0, 1, 2)), 1 / 18, rtol=0.04)
    assert means.mean() == pytest.approx(1.0, abs=0.03)
    assert means.std() == pytest.approx(1.0, abs=0.03)
    rates = BernoulliBandits(4).sample(5000, rng, split)
    assert rates.mean() == pytest.approx(0.5, abs=0.01)
    assert rates.var() == pytest.approx(1 / 12, rel=0.03)
    arms = GaussianBandits(4).sample(5000, rng, split)
    assert arms.mean() == pytest.approx(0.0, abs=0.035)
    assert arms.std() == pytest.approx(1.0, abs=0.03)


def test_defaults_are_tasks():
    for family in (RandomMDPs(), BernoulliBandits(), GaussianBandits(), RandomMDPs(1, 1)):
        family.check(family.default[None], 1)
        family.check(family.sample(3, np.random.default_rng(0)), 3)


def test_tasks_that_are_no_laws_are_refused():
    vector = make("TabularMDP", num_envs=3)
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    bad = tasks.copy()
    bad[1, 4, 2, :-1] *= 1 + 1e-5
    message = r"task 1 .*after state 4 and action 2, which sum to 1\.00001; divide"
    with pytest.raises(ValueError, match=message):
        vector.set_tasks(bad)
    bad = tasks.copy()
    bad[2, 9, 0, 3] -= 2.0
    bad[2, 9, 0, 4] += 2.0  # sums to one all the same
    with pytest.raises(ValueError, match=r"task 2 is -[\d.]+ at \[9, 0, 3\], outside .*Box of sh"):
        vector.set_tasks(bad)
    bad = tasks.copy()
    bad[0, 3, 1, 10] = np.inf
    with pytest.raises(ValueError, match=r"task 0 is inf at \[3, 1, 10\]"):
        vector.set_tasks(bad)
    tasks[0, 3, 1, :-1] *= 1 + 5e-7  # single precision does as much
    vector.set_tasks(tasks)
    vector.set_tasks(tasks.astype(np.float32))
    with pytest.raises(ValueError, match="outside the task space"):
        make("BernoulliBandit", num_envs=1).set_tasks(np.full((1, 5), 1.1))


def test_the_smallest_worlds_by_make_vec():
    vector = gymnasium.make_vec(
        "rlmaml/TabularMDP-v0", num_envs=8, num_states=2, num_actions=2, max_episode_steps=2
    )
    assert vector.task_space.shape == (2, 2, 3)
    vector.reset(seed=0)
    assert not vector.step(np.ones(8, dtype=np.int8))[3].any()
    assert vector.step(np.ones(8, dtype=np.uint64))[3].all()


@pytest.mark.parametrize(
    ("env_id", "bad"),
    [
        ("TabularMDP", {"num_states": 0}),
        ("TabularMDP", {"num_actions": 2.0}),
        ("TabularMDP", {"num_actions": True}),
        ("TabularMDP", {"reward_noise": -0.1}),
        ("BernoulliBandit", {"num_arms": 0}),
        ("GaussianBandit", {"num_arms": -1}),
        ("GaussianBandit", {"noise_scale": np.nan}),
        ("GaussianBandit", {"noise_scale": np.inf}),
    ],
)
def test_bad_arguments_are_refused(env_id, bad):
    ((name, value),) = bad.items()
    for made in (make, lambda name, **given: gymnasium.make(f"rlmaml/{name}-v0", **given)):
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            made(env_id, **bad)
    with pytest.raises(ValueError, match="nothing to draw"):
        gymnasium.make(f"rlmaml/{env_id}-v0", render_mode="human")
