"""The rollout buffer: what it makes of steps, ends, divergences and rows of padding."""

import numpy as np
import torch

from rlmaml.distributions import Gaussian
from rlmaml.sampling.buffer import RolloutBuffer


def played(ends, diverges, active, horizon=4):
    """One task, an episode each; ends[i] is the step after which it ends, diverges[i] at which."""
    count = len(ends)
    buffer = RolloutBuffer(
        tasks=1,
        episodes=count,
        horizon=horizon,
        observation_shape=(2,),
        diagnostics=("speed",),
        active=np.array(active),
    )
    for t in range(horizon):
        seen = buffer.observe(t, np.full((count, 2), t, np.float32))
        assert seen.shape == (1, count, 2)
        policy = Gaussian(torch.zeros(1, count, 1), torch.zeros(1, count, 1))
        buffer.act(policy, torch.full((1, count, 1), float(t)))
        diverged = np.array([float(at == t) for at in diverges])
        reports = {"speed": np.full(count, 10.0 + t), "diverged": diverged}
        buffer.record(t, np.full(count, 1.0 + t), reports)
        over = np.array([at == t for at in ends])
        ended = (over | (diverged > 0)) & buffer.alive
        if ended.any():
            buffer.end(ended, over, np.full((ended.sum(), 2), 100.0 + t, np.float32))
            if not buffer.alive.any():
                break
    return buffer.finish(np.full((count, 2), -1.0, np.float32), torch.device("cpu"))


def test_steps_ends_and_divergences():
    episodes = played([1, None, None], [None, 2, None], [True] * 3)
    assert episodes.mask.tolist() == [[[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]]
    assert episodes.rewards.tolist() == [[[1, 2, 0, 0], [1, 2, 0, 0], [1, 2, 3, 4]]]
    assert episodes.diagnostics["speed"][0, 0].tolist() == [10, 11, 0, 0]
    assert episodes.diagnostics["diverged"].tolist() == [[[0] * 4, [0, 0, 1, 0], [0] * 4]]
    assert episodes.terminated.tolist() == [[1, 0, 0]]
    assert episodes.final_observations[0, :, 0].tolist() == [101, 102, -1]
    assert torch.equal(episodes.log_probs[0, 0, 2:], torch.zeros(2))
    expected = Gaussian(torch.zeros(4, 1), torch.zeros(4, 1)).log_prob(torch.arange(4.0)[:, None])
    torch.testing.assert_close(episodes.log_probs[0, 2], expected)


def test_copies_that_do_not_play_are_padding():
    episodes = played([1, 1, None], [None] * 3, [True, False, False])
    assert episodes.mask.sum(-1).tolist() == [[2, 0, 0]]
    assert episodes.terminated.tolist() == [[1, 0, 0]]
    assert not episodes.rewards[0, 1:].any()
    assert episodes.observations.shape == (1, 3, 4, 2)  # padded to the horizon


def test_rows_are_environments_of_a_task():
    """Environment i·B + j is episode j of task i, also of what is laid out time first."""
    buffer = RolloutBuffer(
        tasks=2,
        episodes=3,
        horizon=2,
        observation_shape=(1,),
        diagnostics=(),
        active=np.ones(6, bool),
    )
    for t in range(2):
        buffer.observe(t, np.arange(6, dtype=np.float32)[:, None] + 10 * t)
        buffer.act(Gaussian(*torch.zeros(2, 2, 3, 1)), torch.zeros(2, 3, 1))
        buffer.record(t, np.arange(6.0), {"diverged": np.zeros(6)})
    episodes = buffer.finish(np.zeros((6, 1), np.float32), torch.device("cpu"))
    assert episodes.observations[1, 2, :, 0].tolist() == [5, 15]
    assert episodes.rewards[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
