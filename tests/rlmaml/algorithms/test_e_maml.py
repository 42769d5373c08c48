"""E-MAML: its score term against a loop."""

import torch

from rlmaml import tree
from rlmaml.algorithms.e_maml import EMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import meta_gradient
from tests.helpers.problems import one, random_batch


def test_the_score_term_adds_the_credits_times_the_scores():
    """Task by task in a loop, with ragged episodes, against the meta-gradient without it."""
    objective, meta, batch = random_batch(2)
    settings = InnerConfig(steps=2, step_size=0.4, surrogate="log-likelihood")
    algorithm = EMAML(objective.policy, settings)
    batch = algorithm.prepare(batch)
    rewards, mask = batch.query.rewards, batch.query.mask
    returns = rewards.sum((1, 2)) / mask.sum((1, 2))
    expected = [returns[i] - returns[torch.arange(5) != i].mean() for i in range(5)]
    torch.testing.assert_close(batch.credit, torch.stack(expected))
    theta, unravel = tree.ravel(meta)
    total = meta_gradient(objective, meta, batch)[1]
    for i, credit in enumerate(expected):
        data = one(batch, i)

        def score(v, data=data):
            params, logs = unravel(v)["params"], 0.0
            for k, support in enumerate(data.support):
                policy = objective.policy(params, support.observations)
                logs = logs + (policy.log_prob(support.actions) * support.mask).sum()
                params = objective.inner.step({}, params, support, k)
            return logs

        total = total - credit * torch.func.grad(score)(theta) / 5
    torch.testing.assert_close(
        meta_gradient(algorithm.objective(algorithm.initial_state(meta)), meta, batch)[1], total
    )


def test_chunks_do_not_change_the_score_term():
    objective, meta, batch = random_batch(1)
    settings = InnerConfig(surrogate="log-likelihood")
    algorithm = EMAML(objective.policy, settings)
    batch = algorithm.prepare(batch)
    scored = algorithm.objective(algorithm.initial_state(meta))
    whole = meta_gradient(scored, meta, batch)
    parts = meta_gradient(scored._replace(chunk_size=2), meta, batch)
    torch.testing.assert_close(parts, whole)
