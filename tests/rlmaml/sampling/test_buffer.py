"""What is noted of N·B environments while policies act in them."""

import numpy as np
import pytest
import torch

from rlmaml.distributions import Categorical, Gaussian
from rlmaml.sampling.buffer import RolloutBuffer

N, B, T = 2, 3, 4
M = N * B
CPU = torch.device("cpu")


def make(active=None, diagnostics=("speed",)):
    return RolloutBuffer(
        tasks=N,
        episodes=B,
        horizon=T,
        observation_shape=(2,),
        diagnostics=diagnostics,
        active=np.ones(M, bool) if active is None else active,
    )


def observations(t):
    """Observation of environment i at time t: (t, i)."""
    return np.stack([np.full(M, t), np.arange(M)], 1).astype(np.float32)


def step(buffer, t, *, diverged=(), ended=(), terminated=()):
    """One time step; rewards are 10 t + i, and so are the reports."""
    buffer.observe(t, observations(t))
    mean = torch.full((N, B, 1), float(t))
    buffer.act(Gaussian(mean, torch.zeros_like(mean)), mean + 0.5)
    values = 10.0 * t + np.arange(M)
    where = np.isin(np.arange(M), diverged)
    buffer.record(t, values, {"speed": values, "diverged": where.astype(float)})
    if ended:
        which = np.isin(np.arange(M), ended)
        buffer.end(which, np.isin(np.arange(M), terminated), observations(t + 1)[which])


def test_environment_i_b_plus_j_is_episode_j_of_task_i():
    buffer = make()
    for t in range(T):
        step(buffer, t)
    episodes = buffer.finish(observations(T), CPU)
    numbers = torch.arange(M).view(N, B).float()
    for t in range(T):
        assert torch.equal(episodes.observations[:, :, t, 1], numbers)
        assert (episodes.observations[:, :, t, 0] == t).all()
        assert torch.equal(episodes.rewards[:, :, t], 10 * t + numbers)
        assert (episodes.actions[:, :, t] == t + 0.5).all()
    assert torch.equal(episodes.diagnostics["speed"], episodes.rewards)
    assert episodes.mask.all()
    assert not episodes.terminated.any()
    assert torch.equal(episodes.final_observations[..., 1], numbers)
    assert (episodes.final_observations[..., 0] == T).all()


def test_observations_come_back_as_tasks_and_episodes():
    tasks = make().observe(0, observations(0))
    assert tasks.shape == (N, B, 2)
    assert torch.equal(tasks[1, 2], torch.tensor([0.0, 5.0]))


def test_log_probabilities_are_of_the_actions_under_the_policies_noted_with_them():
    buffer = make()
    for t in range(T):
        step(buffer, t)
    log_probs = buffer.finish(observations(T), CPU).log_probs
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.5))
    torch.testing.assert_close(log_probs, expected.expand(N, B, T))


def test_what_follows_an_end_is_padding():
    buffer = make()
    step(buffer, 0)
    step(buffer, 1, ended=(1, 4), terminated=(1, 2))
    assert buffer.alive.tolist() == [True, False, True, True, False, True]
    step(buffer, 2)
    step(buffer, 3)
    episodes = buffer.finish(observations(T), CPU)
    lengths = torch.tensor([[4.0, 2.0, 4.0], [4.0, 2.0, 4.0]])
    assert torch.equal(episodes.mask.sum(-1), lengths)
    for leaf in (episodes.rewards, episodes.log_probs, episodes.diagnostics["speed"]):
        assert not leaf[0, 1, 2:].any()
        assert leaf[0, 0, 1:].all()
    # Environment 2 did not end, so that it is not terminated; 4 ended by a time limit.
    assert episodes.terminated.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert episodes.final_observations[..., 0].tolist() == [[4, 2, 4], [4, 2, 4]]


def test_a_step_that_diverged_is_padding_and_counted():
    buffer = make()
    step(buffer, 0)
    step(buffer, 1, diverged=(3,), ended=(3,))
    step(buffer, 2, diverged=(3,))  # rests: not counted again
    step(buffer, 3)
    episodes = buffer.finish(observations(T), CPU)
    assert episodes.mask[1, 0].tolist() == [1, 0, 0, 0]
    assert episodes.diagnostics["diverged"].sum() == 1
    assert episodes.diagnostics["diverged"][1, 0, 1] == 1
    assert episodes.rewards[1, 0].tolist() == [3, 0, 0, 0]
    assert not episodes.terminated.any()
    assert episodes.final_observations[1, 0].tolist() == [2, 3]


def test_not_a_number_in_a_diverged_step_reaches_no_episode():
    buffer = make()
    buffer.observe(0, observations(0))
    buffer.act(Categorical(torch.zeros(N, B, 2)), torch.zeros(N, B, dtype=torch.long))
    broken = np.full(M, np.nan)
    buffer.record(0, broken, {"speed": broken, "diverged": np.ones(M)})
    episodes = buffer.finish(observations(1), CPU)
    assert not episodes.rewards.any()
    assert not episodes.diagnostics["speed"].any()


def test_environments_without_an_episode_are_padding():
    buffer = make(active=np.arange(M) != 4)
    for t in range(T):
        step(buffer, t)
    episodes = buffer.finish(observations(T), CPU)
    assert not episodes.mask[1, 1].any()
    assert not episodes.rewards[1, 1].any()
    assert not episodes.final_observations[1, 1].any()
    assert episodes.mask.sum() == (M - 1) * T


@pytest.mark.parametrize("taken", [1, 3])
def test_steps_that_nobody_took_are_padded_to_the_horizon(taken):
    buffer = make()
    for t in range(taken):
        step(buffer, t, ended=range(M) if t == taken - 1 else ())
    assert not buffer.alive.any()
    episodes = buffer.finish(observations(taken), CPU)
    assert episodes.actions.shape == (N, B, T, 1)
    assert episodes.log_probs.shape == episodes.mask.shape == (N, B, T)
    assert (episodes.mask.sum(-1) == taken).all()
    assert not episodes.actions[:, :, taken:].any()
