"""Sets of labeled examples, and families that show their task or give classes other labels."""

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.errors import ConfigError
from rlmaml.inner import gradient_descent
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.examples import ClassLabels, ExampleSampler, TaskInputs
from rlmaml.types import InputsWithStatistics
from tests.helpers.problems import Waves

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
KEY = (0, 3, 7)
ROLES = ("support", "hessian", "query")


class Tokens:
    """The spaces of a family of texts."""

    inputs = Box(0, 9, (8,), np.int64)
    outputs = Discrete(3)


class Pairs:
    """Two of five classes; an example is its class and a number. A task numbers its two classes."""

    inputs, outputs, class_count = Box(-np.inf, np.inf, (2,)), Discrete(2), 5
    space = gymnasium.spaces.MultiDiscrete([5, 5])
    seed = 17

    def sample(self, n, rng, split="train"):
        return np.stack([rng.permutation(5)[:2] for _ in range(n)])

    def episode(self, tasks, shots, queries, rng):
        def examples(count):
            y = np.tile(np.arange(2), (len(tasks), count))  # classes take turns
            classes = np.take_along_axis(tasks, y, 1)
            return np.stack([classes, rng.uniform(size=y.shape)], -1).astype(np.float32), y

        return examples(shots), examples(queries)

    def class_labels(self, tasks):
        return 4 - tasks

    def check_episode(self, shots, queries):
        if shots + queries > 20:
            raise ValueError(f"a class has 20 examples, not {shots} shots and {queries} queries")


def draw(family, **how):
    """A sampler of 4 shots and 5 queries, and three tasks."""
    sampler = ExampleSampler(family, shots=4, queries=5, **how)
    return sampler, family.sample(3, generator(0))


@pytest.mark.parametrize("family", [Waves(), Pairs()])
def test_the_sets_of_a_key_are_disjoint_and_drawn_once(family):
    sampler, tasks = draw(family, separate_hessian=True)
    sets = [sampler({}, tasks, KEY, role) for role in ROLES]
    per = 2 if isinstance(family, Pairs) else 1
    assert [data.targets.shape[1] for data in sets] == [4 * per, 4 * per, 5 * per]
    for i in range(3):
        rows = torch.cat([data.inputs[i] for data in sets])
        assert len(rows.unique(dim=0)) == len(rows)
    again = sampler({}, tasks, KEY, "hessian", 1)  # all inner steps share a set
    assert torch.equal(again.inputs, sets[1].inputs)
    if per == 2:  # every set is balanced
        assert all((data.targets.sum(1) == data.targets.shape[1] // 2).all() for data in sets)


def test_sets_depend_on_the_key_and_the_tasks_and_on_nothing_else():
    sampler, tasks = draw(Waves())
    first = sampler({}, tasks, KEY, "query")
    assert not torch.equal(sampler({}, tasks, (0, 3, 8), "query").inputs, first.inputs)
    other = sampler({}, tasks + 1, KEY, "query")
    assert torch.equal(other.inputs, first.inputs)
    assert not torch.equal(other.targets, first.targets)
    fresh, _ = draw(Waves())
    params = {"x": torch.ones(3)}
    assert torch.equal(fresh(params, tasks, KEY, "query", 2).targets, first.targets)


def test_tasks_changed_in_place_are_drawn_anew():
    sampler, tasks = draw(Waves())
    first = sampler({}, tasks, KEY)
    tasks += 1
    assert not torch.equal(sampler({}, tasks, KEY).targets, first.targets)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("fresh", [0, 3])
def test_every_inner_step_can_have_examples_of_its_own(fresh, separate):
    sampler, tasks = draw(Waves(), fresh_support=fresh, separate_hessian=separate)
    sets = [sampler({}, tasks, KEY, "support", k) for k in range(3)]
    assert (sets[0].inputs is sets[1].inputs) == (not fresh)
    apart = [*(sets if fresh else sets[:1]), sampler({}, tasks, KEY, "query")]
    if separate:
        apart.append(sampler({}, tasks, KEY, "hessian"))
    rows = torch.cat([data.inputs[0] for data in apart])
    assert len(rows.unique(dim=0)) == len(rows) == 4 * (max(fresh, 1) + separate) + 5
    beyond = sampler({}, tasks, KEY, "support", 7)  # evaluation may take more steps
    assert torch.equal(beyond.inputs, sets[2].inputs)


def test_the_support_inputs_come_with_the_query_where_batch_norm_is_to_see_them_alone():
    sampler, tasks = draw(Pairs(), separate_hessian=True, reference=True)
    query = sampler({}, tasks, KEY, "query").inputs
    assert isinstance(query, InputsWithStatistics)
    assert torch.equal(query.reference, sampler({}, tasks, KEY, "support").inputs)


def test_numbers_take_the_given_type_and_classes_stay_integers():
    sampler, tasks = draw(Pairs(), dtype=torch.float64)
    data = sampler({}, tasks, KEY)
    assert data.inputs.dtype == torch.float64
    assert data.targets.dtype == torch.int64


def test_collect_brings_hessian_sets_when_asked():
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    loss = losses.mse(models.functional(module))
    inner, meta = gradient_descent(loss, 0.1), {"params": models.parameters(module)}
    sampler, tasks = draw(Waves(), separate_hessian=True)
    batch = collect(sampler, inner, meta, tasks, steps=2, key=KEY, separate_hessian=True)
    assert len(batch.hessian) == 2
    assert not any(map(torch.equal, tree.leaves(batch.hessian), tree.leaves(batch.support)))
    assert collect(sampler, inner, meta, tasks, steps=2, key=KEY).hessian == ()


def test_sampler_draws_one_support_set_for_all_steps():
    family = Waves()
    sampler = ExampleSampler(family, shots=4, queries=3)
    module = models.RegressionMLP(1, 1)
    meta = {"params": models.parameters(module)}
    tasks = family.sample(5, generator(0))
    inner = gradient_descent(losses.mse(models.functional(module)), 0.1)
    calls = []
    counted = inner._replace(step=lambda *a: calls.append(a) or inner.step(*a))
    batch = collect(sampler, counted, meta, tasks, steps=3, key=(0, 1, 2))
    assert not calls  # the data do not depend on adaptation
    assert len(batch.support) == 3
    assert all(data.inputs is batch.support[0].inputs for data in batch.support)
    # Support and query come from one draw of the family, keyed by (0, 1, 2) alone.
    (x, y), (query_x, query_y) = family.episode(tasks, 4, 3, generator(0, 1, 2))
    for drawn, expected in (
        (batch.support[0].inputs, x),
        (batch.support[0].targets, y),
        (batch.query.inputs, query_x),
        (batch.query.targets, query_y),
    ):
        assert np.array_equal(drawn.numpy(), expected.astype(np.float32))
    again = ExampleSampler(family, shots=4, queries=3)
    assert torch.equal(again(None, tasks, (0, 1, 2), "query").inputs, batch.query.inputs)
    other = collect(sampler, inner, meta, tasks, steps=1, key=(0, 2, 2))
    assert not torch.equal(other.query.inputs, batch.query.inputs)


@pytest.mark.parametrize(("shots", "queries"), [(0, 1), (1, 0)])
def test_sampler_refuses_empty_sets(shots, queries):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ExampleSampler(Waves(), shots=shots, queries=queries)


def test_too_few_examples_are_explained():
    ExampleSampler(Pairs(), shots=10, queries=10)
    with pytest.raises(ConfigError, match=r"^a class has 20 examples, not 11 shots"):
        ExampleSampler(Pairs(), shots=11, queries=10)
    with pytest.raises(ConfigError, match=r"takes 2 times its 6 shots.*not 12 shots"):
        ExampleSampler(Pairs(), shots=6, queries=10, separate_hessian=True)
    with pytest.raises(ConfigError, match=r"takes 4 times its 3 shots.*not 12 shots"):
        ExampleSampler(Pairs(), shots=3, queries=10, separate_hessian=True, fresh_support=3)


def test_an_oracle_has_the_task_before_every_input():
    family = Waves()
    shown, tasks = TaskInputs(family), family.sample(3, generator(0))
    assert shown.inputs.shape == (3,)
    assert shown.outputs is family.outputs
    sets = shown.episode(tasks, 4, 5, generator(1))
    for (x, y), (plain, same) in zip(sets, family.episode(tasks, 4, 5, generator(1)), strict=True):
        assert np.array_equal(y, same)
        assert np.array_equal(x[..., 2:], plain)
        for i, task in enumerate(tasks):
            assert np.array_equal(x[i, :, :2], np.tile(task.astype(np.float32), (len(x[i]), 1)))


def test_a_family_in_another_keeps_what_is_its_own():
    assert ClassLabels(Pairs()).seed == 17
    assert TaskInputs(Waves()).space is Waves.space
    with pytest.raises(AttributeError):
        _ = ClassLabels(Pairs()).nothing


def test_no_task_is_shown_beside_token_ids_and_images():
    with pytest.raises(ValueError, match="token ids"):
        TaskInputs(Tokens())
    images = Waves()
    images.inputs = Box(0, 1, (1, 8, 8))
    with pytest.raises(ConfigError, match=r"Waves has inputs of shape \(1, 8, 8\)"):
        TaskInputs(images)


@pytest.mark.parametrize("relabel", [True, False])
def test_classes_have_a_label_each_in_training_and_the_tasks_own_otherwise(relabel):
    family = ClassLabels(Pairs(), relabel=relabel)
    tasks = family.sample(50, generator(0))
    assert family.outputs.n == 5
    for x, y in family.episode(tasks, 2, 3, generator(1)):
        expected = 4 - x[..., 0] if relabel else np.tile([0, 1], (50, y.shape[1] // 2))
        assert np.array_equal(y, expected)


def test_few_classes_have_as_many_outputs_as_a_task():
    family = Pairs()
    family.class_count = 1
    assert ClassLabels(family).outputs.n == 2


def test_labels_of_their_own_are_for_classes_that_are_known():
    with pytest.raises(ConfigError, match="Waves has no `class_count`"):
        ClassLabels(Waves())
    with pytest.raises(ConfigError, match="Tokens has no `class_count`"):
        ClassLabels(Tokens())
