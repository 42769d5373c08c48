"""Batches counted in time steps: how many episodes, which ones, and what is learned from them."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.sampling.fill_to_horizon import FillToHorizon
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import TaskProperty, Vectorized
from tests.helpers.problems import Scripted, Walk, one

SMALL = models.PolicyConfig(hidden=(8,))
MODES = (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP)
NEAR, FAR = [0.2, 0.0], [9.0, 9.0]


def points(goals, episodes=3, horizon=40, mode=AutoresetMode.DISABLED, **kwargs):
    """A sampler of points that walk about, and its policies, and where they are to go."""
    torch.manual_seed(0)
    model = models.GaussianMLP(2, 2, SMALL)
    sampler = RolloutSampler(
        Walk(len(goals) * episodes, horizon, mode),
        models.functional(model),
        episodes=episodes,
        horizon=horizon,
        **kwargs,
    )
    return sampler, tree.repeat(models.parameters(model), len(goals)), np.array(goals)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_has_as_many_time_steps_as_full_length_episodes(mode):
    sampler, params, goals = points([NEAR, FAR], mode=mode)
    episodes = FillToHorizon(sampler)(params, goals, (0, 0, 1))
    near, far = episodes.mask.sum(-1).int().tolist()
    assert sum(far[:3]) == 3 * 40
    assert not any(far[3:])
    used = [length for length in near if length]
    assert len(used) > 3
    assert near[: len(used)] == used  # padding comes last
    assert sum(used[:-1]) < 3 * 40 <= sum(used)
    ended = episodes.terminated[0, : len(used)]
    assert torch.equal(ended > 0, torch.tensor(used) < 40)
    assert episodes.rewards[1, 3:].abs().max() == 0
    # The first are those that there would be otherwise.
    first = tree.map(lambda leaf: leaf[:, :3], episodes)
    for name, theirs in sampler(params, goals, (0, 0, 1))._asdict().items():
        if name != "diagnostics":
            assert torch.equal(getattr(first, name), theirs), name


def test_either_autoreset_mode_gives_the_same_batch():
    batches = []
    for mode in MODES:
        sampler, params, goals = points([NEAR], mode=mode)
        batches.append(FillToHorizon(sampler)(params, goals, (0, 0, 1)))
    disabled, same_step = batches
    for name in ("mask", "rewards", "log_probs", "terminated", "final_observations"):
        assert torch.equal(getattr(disabled, name), getattr(same_step, name)), name
    lived = disabled.mask > 0  # after an end the two show different things, which nobody reads
    assert torch.equal(disabled.observations[lived], same_step.observations[lived])
    assert torch.equal(disabled.actions[lived], same_step.actions[lived])


def scripted(lengths, horizon):
    """Environment j of one task plays episodes of lengths[j], one a round."""
    makers = [lambda each=each: TaskProperty(Scripted(each)) for each in lengths]
    env = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    model = models.GaussianMLP(1, 1, SMALL)
    sampler = RolloutSampler(
        Vectorized(env, TaskProperty(Scripted(lengths[0]))),
        models.functional(model),
        episodes=len(lengths),
        horizon=horizon,
    )
    return sampler, tree.repeat(models.parameters(model), 1)


def test_no_episode_is_used_beyond_the_one_that_reaches_the_count():
    # A copy that ends is reset at once, which takes an episode of its script: every second one.
    sampler, params = scripted([(2, 9, 4, 9), (2, 9, 2, 9), (2, 9, 1, 9)], horizon=4)
    episodes = FillToHorizon(sampler)(params, np.zeros((1, 1)), (0, 0, 0))
    assert episodes.mask[0].sum(-1).tolist() == [2, 2, 2, 4, 2]  # exactly 12; one of 1 was drawn


def test_a_tasks_batch_does_not_depend_on_the_other_tasks():
    sampler, params, goals = points([NEAR, FAR])
    two = FillToHorizon(sampler)(params, goals, (0, 0, 1))
    sampler, params, goals = points([NEAR])
    alone = FillToHorizon(sampler)(params, goals, (0, 0, 1))
    count = alone.mask.shape[1]
    torch.testing.assert_close(two.rewards[:1, :count], alone.rewards)


def test_it_gives_up_at_last():
    sampler, params, goals = points([NEAR], episodes=2, horizon=2000)
    episodes = FillToHorizon(sampler, most=2)(params, goals, (0, 0, 1))
    assert episodes.mask.shape[1] == 4
    assert episodes.mask.sum() < 2 * 2000


def test_rows_of_padding_change_neither_advantages_nor_losses():
    sampler, params, goals = points(
        [NEAR, FAR], advantages=AdvantageConfig(baseline="cross-fitted")
    )
    both = FillToHorizon(sampler)(params, goals, (0, 0, 1))
    far = one(both, 1)
    bare = tree.map(lambda leaf: leaf[:3], far)
    again = estimate_advantages(bare, AdvantageConfig())
    padded = estimate_advantages(far, AdvantageConfig())
    torch.testing.assert_close(padded.advantages[:3], again.advantages)
    assert padded.advantages[3:].abs().max() == 0
    for reduction in ("steps", "episodes"):
        loss = losses.likelihood_ratio(sampler.policy, reduction)
        torch.testing.assert_close(loss(one(params, 1), far), loss(one(params, 1), bare))


def test_data_for_derivatives_are_of_their_own_in_every_round():
    sampler, params, goals = points([NEAR])
    fill = FillToHorizon(sampler)
    step, hessian = (fill(params, goals, (0, 0, 1), role) for role in ("support", "hessian"))
    assert min(step.mask.shape[1], hessian.mask.shape[1]) > 3
    drawn = [set(data.actions[0, 3:].flatten().tolist()) - {0.0} for data in (step, hessian)]
    assert all(drawn)
    assert not drawn[0] & drawn[1]


def test_it_shows_what_the_sampler_has():
    sampler, *_ = points([NEAR], normalizer=Normalizer((2,)))
    fill = FillToHorizon(sampler)
    assert fill.env is sampler.env
    assert fill.normalizer is sampler.normalizer
    fill.deterministic = True
    assert sampler.deterministic
    assert fill.deterministic
