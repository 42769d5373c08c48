"""One pass through the network for the outer loss and what is compared with it."""

import contextlib

import pytest
import torch

from rlmaml import objective, tree
from rlmaml.objective import evaluate, gradient_and_reference, reference
from rlmaml.remembering import remembered, remembering
from runners.environments import build_experiment
from runners.training import train
from tests.helpers.share import one_update, problem


def counting():
    calls = []

    def policy(params, inputs):
        calls.append((params, inputs))
        return params["x"] * inputs

    return policy, calls


def test_the_same_question_is_answered_once_and_only_inside():
    policy, calls = counting()
    asked = remembered(policy)
    params, inputs = {"x": torch.tensor(2.0)}, torch.tensor(3.0)
    with remembering():
        assert asked(params, inputs) is asked(params, inputs)
        asked(dict(params), inputs)  # equal is not the same
        asked(params, inputs.clone())
        assert len(calls) == 3
        with remembering():
            asked(params, inputs)
        assert len(calls) == 4
    asked(params, inputs)
    asked(params, inputs)
    assert len(calls) == 6


def test_what_was_answered_without_gradients_is_not_what_has_them():
    asked = remembered(counting()[0])
    params, inputs = {"x": torch.tensor(2.0, requires_grad=True)}, torch.tensor(3.0)
    with remembering():
        with torch.no_grad():
            asked(params, inputs)
        (slope,) = torch.autograd.grad(asked(params, inputs), params["x"])
    assert slope == 3.0


def test_two_policies_are_not_taken_for_each_other():
    one, other = remembered(counting()[0]), remembered(lambda params, inputs: inputs)
    params, inputs = {"x": torch.tensor(2.0)}, torch.tensor(3.0)
    with remembering():
        assert one(params, inputs) == 6.0
        assert other(params, inputs) == 3.0


def test_gradient_and_line_search_pass_once_over_each_set_of_episodes():
    config = problem("navigation", tasks=3, chunk_size=None)
    with contextlib.closing(build_experiment(config)) as experiment:
        meta = experiment.algorithm.init_meta(experiment.params)
        batch = train.meta_batch(experiment, config, meta, 0)
        method = experiment.algorithm
        aim = method.objective(method.initial_state(meta))
        passes = []
        experiment.model.register_forward_hook(lambda *given: passes.append(given))
        _, _, ref = gradient_and_reference(aim, meta, batch)
        assert len(passes) == len(batch.support) + 1
        assert not any(field.requires_grad for field in ref.policy)
        passes.clear()
        evaluate(aim, meta, batch, ref)
        assert len(passes) == len(batch.support) + 1
    alone = reference(aim, meta, batch)
    for noted, again in zip(tree.leaves(ref), tree.leaves(alone), strict=True):
        torch.testing.assert_close(noted, again, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["maml", "fo-maml", "promp", "e-maml", "hf-maml"])
def test_an_update_is_what_it_is_without_in_float64(algorithm, monkeypatch):
    config = problem("navigation", algorithm)
    _, found, metrics = one_update(config)
    monkeypatch.setattr(objective, "remembering", contextlib.nullcontext)
    _, expected, alone = one_update(config)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert metrics["outcome"] == alone["outcome"] == "accepted"
