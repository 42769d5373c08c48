"""What a run reports of a batch: returns, lengths, costs, losses."""

import numpy as np
import pytest
import torch

from rlmaml import losses, tree
from rlmaml.metrics import Predictions, Returns
from tests.helpers.problems import mean_outer_loss, random_batch, supervised_problem


def episodes():
    """Two inner steps' and the query episodes of 5 tasks; task 0's first episode diverges."""
    _, meta, batch = random_batch(2)
    diverged = torch.zeros_like(batch.query.mask)
    diverged[0, 0, 3] = 1
    mask = batch.query.mask.clone()
    mask[0, 0, 3:] = 0
    rewards = batch.query.rewards * mask
    speed = torch.ones_like(mask) * 2 * mask
    query = batch.query._replace(
        mask=mask, rewards=rewards, diagnostics={"diverged": diverged, "speed": speed}
    )
    support = tuple(
        data._replace(diagnostics={**data.diagnostics, "speed": data.mask})
        for data in batch.support
    )
    return meta, batch._replace(support=support, query=query)


def test_returns_are_sums_of_rewards_after_each_step():
    meta, batch = episodes()
    scores = Returns().scores(meta, batch)
    assert {name: value.shape for name, value in scores.items()} == {
        "return": (5, 3),
        "diverged": (5, 3),
        "speed": (5, 3),
    }
    for k, data in enumerate((*batch.support, batch.query)):
        np.testing.assert_allclose(scores["return"][:, k], data.rewards.sum(-1).mean(1))
        np.testing.assert_allclose(scores["speed"][:, k], 2 if k == 2 else 1)
    assert scores["diverged"].sum() == scores["diverged"][0, 2] == 1


def test_a_line_has_means_over_tasks_and_the_cost_counts_diverged_steps():
    meta, batch = episodes()
    line = Returns().line(meta, batch)
    returns = Returns().scores(meta, batch)["return"].mean(0)
    assert [line[f"return/{name}"] for name in ("pre", "step_1", "post")] == pytest.approx(returns)
    assert line["length/post"] == pytest.approx(batch.query.mask.sum(-1).mean().item())
    assert line["diverged"] == 1
    masks = [data.mask.sum() for data in (*batch.support, batch.query)]
    assert Returns().steps(batch) == int(sum(masks)) + 1
    again = batch._replace(hessian=batch.support)
    assert Returns().steps(again) == int(sum(masks) + sum(masks[:2])) + 1


@pytest.mark.parametrize("fresh", [False, True])
def test_predictions_are_losses_of_the_query_set(fresh):
    objective, meta, batch = supervised_problem("regression", steps=3)
    metric = Predictions(
        objective.inner, {"mse": losses.mse(objective.policy)}, fresh_support=fresh
    )
    assert (metric.name, metric.higher_is_better) == ("mse", False)
    line = metric.line(meta, batch)
    assert line["mse/post"] == pytest.approx(mean_outer_loss(objective, meta, batch).item())
    before = mean_outer_loss(objective, meta, batch._replace(support=()))
    assert line["mse/pre"] == pytest.approx(before.item())
    assert set(line) == {"mse/pre", "mse/step_1", "mse/step_2", "mse/post", "helped"}
    scores = metric.scores(meta, batch)["mse"]
    assert line["helped"] == pytest.approx((scores[:, -1] < scores[:, 0]).mean())
    assert metric.steps(batch) == 4 * (5 * (3 if fresh else 1) + 7)
    assert all(leaf.isfinite().all() for leaf in tree.leaves(meta))


def test_the_share_of_tasks_that_adaptation_helps():
    _, meta, batch = random_batch(1)
    before, after = torch.zeros(5, 3, 4), torch.zeros(5, 3, 4)
    after[0, 0, 0], after[1, 0, 0], after[2, 0, 0] = 1.0, 2.0, -3.0  # the others are as they were
    batch = batch._replace(
        support=(batch.support[0]._replace(rewards=before, mask=torch.ones(5, 3, 4)),),
        query=batch.query._replace(rewards=after, mask=torch.ones(5, 3, 4)),
    )
    assert Returns().line(meta, batch)["helped"] == pytest.approx((2 + 2 / 2) / 5)
    alone = batch._replace(support=())
    assert "helped" not in Returns().line(meta, alone)
