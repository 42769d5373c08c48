"""Learning to classify texts of the package's family."""

import numpy as np
import pytest
import torch

from envs.few_shot.text import TextTasks
from rlmaml import (
    MAML,
    BagOfEmbeddings,
    ExampleSampler,
    InnerConfig,
    Optimizer,
    TextConfig,
    TextTransformer,
    TrustRegion,
    losses,
    models,
)
from rlmaml.inner import adapt
from rlmaml.models.text import token_count
from rlmaml.objective import over_tasks
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect

pytestmark = pytest.mark.slow

KINDS = ("bag", "transformer")


def topics():
    """Classes of two words of their own each, among words that all have; 12 to test."""
    rng = np.random.default_rng(0)
    filler = [f"filler{i}" for i in range(30)]
    own = [f"own{i}" for i in range(12)]
    pairs = [(own[i], own[j]) for i in range(12) for j in range(i)]
    classes = {}
    for k in rng.permutation(len(pairs))[:48]:
        said = [rng.permutation([*rng.choice(filler, 6), *pairs[k]]) for _ in range(12)]
        classes[" ".join(pairs[k])] = [" ".join(text) for text in said]
    splits = {"train": range(36), "test": range(36, 48)}
    return TextTasks(classes, splits, way=3, length=8)


def learner(kind, outer):
    """Three-way, 3-shot tasks: the family, a network's parameters, sampler, method, accuracy."""
    family = topics()
    torch.manual_seed(0)
    config = TextConfig(kind, dimension=16, heads=2, feedforward=32)
    tokens = token_count(family.inputs)
    if kind == "bag":
        module = BagOfEmbeddings(tokens, 3, config)
    else:
        module = TextTransformer(tokens, 8, 3, config)
    policy = models.functional(module)
    maml = MAML(
        policy,
        InnerConfig(steps=1, step_size=1.0),
        outer,
        inner_loss=losses.cross_entropy,
        outer_loss=losses.cross_entropy,
    )
    sampler = ExampleSampler(family, shots=3, queries=5)
    return family, models.parameters(module), sampler, maml, losses.accuracy(policy)


@pytest.mark.parametrize("kind", KINDS)
def test_meta_training_learns_texts(kind):
    """Which words matter is learned: held-out classes are told apart after one step."""
    family, params, sampler, maml, accuracy = learner(kind, Optimizer("Adam", learning_rate=0.02))
    state = maml.init(params)
    losses_seen = []
    for iteration in range(100):
        chosen = family.sample(8, generator(0, iteration, 1))
        batch = collect(sampler, maml.inner, state.meta, chosen, steps=1, key=(0, iteration, 2))
        state, metrics = maml.update(state, batch)
        losses_seen.append(metrics["loss"])
    assert np.mean(losses_seen[-5:]) < 0.7 * np.mean(losses_seen[:5])
    tasks = family.sample(60, generator(9), "test")
    batch = collect(sampler, maml.inner, state.meta, tasks, steps=1, key=(9, 0, 0))

    def right(start):
        def one(support, query):
            adapted = adapt(maml.inner, start, support)
            return torch.stack([accuracy(p, query) for p in adapted])

        return over_tasks(one)(batch.support, batch.query).mean(0).tolist()

    before, after = right(state.meta)
    assert before < 0.4
    assert after > 0.7
    assert after > right({"params": params})[1] + 0.1


def test_a_trust_region_takes_token_ids():
    family, params, sampler, maml, _ = learner("bag", TrustRegion(max_kl=0.01, fisher_fraction=0.5))
    state = maml.init(params)
    tasks = family.sample(4, generator(0))
    batch = collect(sampler, maml.inner, state.meta, tasks, steps=1, key=(0, 0, 2))
    state, metrics = maml.update(state, batch)
    assert metrics["outcome"] == "accepted"
    assert 0 < metrics["kl"] <= 0.0101
