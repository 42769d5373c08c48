"""One pass through the network for the outer loss and the divergence."""

import contextlib
import pickle

import pytest
import torch

from rlmaml import objective
from rlmaml.objective import evaluate, reference
from rlmaml.remembering import Remembered, asked
from runners.environments import build_experiment
from runners.training import train
from tests.helpers.share import one_update, problem


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, params, inputs):
        self.calls += 1
        return params["x"] * inputs


@pytest.fixture
def question():
    return {"x": torch.tensor(2.0, requires_grad=True)}, torch.tensor(3.0)


@torch.no_grad()
def test_what_was_asked_is_known_and_nothing_else(question):
    policy = Remembered(Counting())
    params, inputs = question
    with asked(policy, params, inputs) as outputs:
        assert policy(params, inputs) is outputs
        assert policy.policy.calls == 1
        policy(dict(params), inputs)  # equal is not the same
        policy(params, inputs.clone())
        assert policy.policy.calls == 3
        assert Remembered(lambda params, inputs: inputs)(params, inputs) is inputs
    policy(params, inputs)
    assert policy.policy.calls == 4


@torch.no_grad()
def test_parameters_that_were_written_to_are_others(question):
    policy = Remembered(Counting())
    params, inputs = question
    with asked(policy, params, inputs):
        params["x"] = torch.tensor(5.0)
        assert policy(params, inputs) == 15.0


def test_gradients_come_back_through_passes_of_their_own(question):
    policy = Remembered(Counting())
    params, inputs = question
    with asked(policy, params, inputs):
        for _ in range(2):  # each frees its graph
            (slope,) = torch.autograd.grad(policy(params, inputs), params["x"])
            assert slope == 3.0


def test_it_pickles(question):
    policy = pickle.loads(pickle.dumps(Remembered(Counting())))
    assert policy(*question) == 6.0


def test_a_candidate_passes_once_over_each_set_of_episodes():
    config = problem("navigation", tasks=3, chunk_size=None)
    with contextlib.closing(build_experiment(config)) as experiment:
        meta = experiment.algorithm.init_meta(experiment.params)
        batch = train.meta_batch(experiment, config, meta, 0)
        method = experiment.algorithm
        aim = method.objective(method.initial_state(meta))
        ref = reference(aim, meta, batch)
        passes = []
        experiment.model.register_forward_hook(lambda *given: passes.append(given))
        evaluate(aim, meta, batch, ref)
        assert len(passes) == len(batch.support) + 1


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["maml", "e-maml", "anil"])
def test_an_update_is_what_it_is_without(algorithm, monkeypatch):
    config = problem("navigation", algorithm)
    _, found, metrics = one_update(config)

    @contextlib.contextmanager
    def nothing(policy, params, inputs):
        yield policy(params, inputs)

    monkeypatch.setattr(objective, "asked", nothing)
    _, expected, alone = one_update(config)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert metrics["outcome"] == alone["outcome"] == "accepted"
