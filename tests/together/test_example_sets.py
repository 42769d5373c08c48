"""Sets of labeled examples drawn from the package's families."""

import gymnasium
import numpy as np
import pytest
import torch

import envs  # noqa: F401  registers the environments
from envs.few_shot.sinusoid import SinusoidTasks
from rlmaml import ExampleSampler, Optimizer, losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.reptile import Reptile
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import (
    over_tasks,
)
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import InputsWithStatistics
from tests.helpers.problems import (
    one,
)

KEY = (0, 3, 7)


def family(name, **kwargs):
    return gymnasium.make(f"rlmaml/{name}-v0", **kwargs).unwrapped.examples


@pytest.mark.parametrize(("name", "kwargs"), [("Sinusoid", {}), ("Digits", {"way": 2})])
def test_the_three_sets_are_disjoint(name, kwargs):
    examples = family(name, **kwargs)
    sampler = ExampleSampler(examples, shots=4, queries=5, separate_hessian=True)
    tasks = examples.sample(3, generator(0))
    sets = [sampler({}, tasks, KEY, role) for role in ("support", "hessian", "query")]
    classes = 2 if name == "Digits" else 1
    assert [data.targets.shape[1] for data in sets] == [4 * classes, 4 * classes, 5 * classes]
    for i in range(3):
        rows = torch.cat([data.inputs[i].flatten(1) for data in sets])
        assert len(rows.unique(dim=0)) == len(rows)
    if classes == 2:
        for data in sets:
            assert torch.equal(data.targets.sum(1), torch.full((3,), data.targets.shape[1] // 2))
    again = sampler({}, tasks, KEY, "hessian", 1)  # all inner steps share a set
    assert torch.equal(again.inputs, sets[1].inputs)


def test_batch_norm_looks_at_the_support_set_alone():
    examples = family("Digits", way=2)
    how = {"shots": 3, "queries": 2, "separate_hessian": True, "reference": True}
    tasks = examples.sample(2, generator(0))
    sampler = ExampleSampler(examples, **how)
    query = sampler({}, tasks, KEY, "query").inputs
    assert isinstance(query, InputsWithStatistics)
    assert torch.equal(query.reference, sampler({}, tasks, KEY, "support").inputs)


def test_collect_brings_them_when_asked():
    examples = family("Sinusoid")
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(4,)))
    loss = losses.mse(models.functional(module))
    inner, meta = gradient_descent(loss, 0.1), {"params": models.parameters(module)}
    tasks = examples.sample(3, generator(0))
    sampler = ExampleSampler(examples, shots=4, queries=5, separate_hessian=True)
    batch = collect(sampler, inner, meta, tasks, steps=2, key=KEY, separate_hessian=True)
    assert len(batch.hessian) == 2
    assert not any(map(torch.equal, tree.leaves(batch.hessian), tree.leaves(batch.support)))
    assert collect(sampler, inner, meta, tasks, steps=2, key=KEY).hessian == ()


def test_too_few_examples_are_explained():
    examples = family("Digits")
    ExampleSampler(examples, shots=60, queries=20)
    with pytest.raises(ValueError, match=r"takes 2 times its 60 shots.*120 shots"):
        ExampleSampler(examples, shots=60, queries=100, separate_hessian=True)


def sinusoids():
    return gymnasium.make("rlmaml/Sinusoid-v0").unwrapped.examples


def test_sampler_draws_one_support_set_for_all_steps():
    family = sinusoids()
    sampler = ExampleSampler(family, shots=4, queries=3)
    module = models.RegressionMLP(1, 1)
    policy = models.functional(module)
    loss = losses.mse(policy)
    meta = {"params": models.parameters(module)}
    tasks = family.sample(5, generator(0))
    inner = gradient_descent(loss, 0.1)
    calls = []
    counted = inner._replace(step=lambda *a: calls.append(a) or inner.step(*a))
    batch = collect(sampler, counted, meta, tasks, steps=3, key=(0, 1, 2))
    assert not calls  # the data do not depend on adaptation
    assert len(batch.support) == 3
    assert all(data.inputs is batch.support[0].inputs for data in batch.support)
    # Support and query come from one draw of the family, keyed by (0, 1, 2) alone.
    (x, y), (query_x, query_y) = family.episode(tasks, 4, 3, generator(0, 1, 2))
    for found, expected in (
        (batch.support[0].inputs, x),
        (batch.support[0].targets, y),
        (batch.query.inputs, query_x),
        (batch.query.targets, query_y),
    ):
        assert np.array_equal(found.numpy(), expected)
    again = ExampleSampler(family, shots=4, queries=3)
    assert torch.equal(again(None, tasks, (0, 1, 2), "query").inputs, batch.query.inputs)
    other = collect(sampler, inner, meta, tasks, steps=1, key=(0, 2, 2))
    assert not torch.equal(other.query.inputs, batch.query.inputs)


@pytest.mark.parametrize(("shots", "queries"), [(0, 1), (1, 0)])
def test_sampler_refuses_empty_sets(shots, queries):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ExampleSampler(sinusoids(), shots=shots, queries=queries)


def test_sinusoid_by_labels_and_by_rewards():
    """One environment, one `collect`, one `adapt`: from labeled examples, and as episodes with
    H = 1 by policy gradients. Either inner step lowers the task's squared error."""
    world = gymnasium.make("rlmaml/Sinusoid-v0").unwrapped
    tasks = world.sample_tasks(6, generator(3))
    x = torch.linspace(-5, 5, 200)[:, None]
    truth = torch.stack([torch.from_numpy(a * np.sin(x.numpy() - b)).float() for a, b in tasks])
    config = models.PolicyConfig(hidden=(16,), activation="tanh")
    for data in ("examples", "episodes"):
        torch.manual_seed(0)
        if data == "examples":
            module = models.RegressionMLP(1, 1, config)
            sampler = ExampleSampler(world.examples, shots=50, queries=5)
            loss, alpha = losses.mse, 0.02
        else:
            module = models.GaussianMLP(1, 1, config)
            env = vectorize(lambda: gymnasium.make("rlmaml/Sinusoid-v0"), 6 * 200)
            sampler = RolloutSampler(
                env,
                models.functional(module),
                episodes=200,
                horizon=1,
                advantages=AdvantageConfig(normalize=False),
            )
            loss, alpha = losses.log_likelihood, 0.01
        policy = models.functional(module)
        inner = gradient_descent(loss(policy), alpha)
        meta = {"params": models.parameters(module)}
        batch = collect(sampler, inner, meta, tasks, steps=3, key=(0, 0, 0))

        def error(task, target, inner=inner, meta=meta, policy=policy):
            path = adapt(inner, meta, task.support)
            return torch.stack([(policy(p, x).mean - target).square().mean() for p in path])

        errors = over_tasks(error)(batch, truth).mean(0)
        assert (errors.diff() < 0).all(), (data, errors)
        if data == "episodes":
            # The reward is minus the squared error of the action that was drawn.
            episodes = one(batch.query, 0)
            amplitude, phase = tasks[0]
            target = amplitude * np.sin(episodes.observations.numpy() - phase)
            expected = -((episodes.actions.numpy() - target) ** 2)[..., 0]
            assert np.allclose(episodes.rewards.numpy(), expected, atol=1e-4)
            assert episodes.terminated.all()


def test_maml_defaults_to_policy_gradients_and_takes_other_losses():
    module = models.RegressionMLP(1, 1)
    policy = models.functional(module)
    family = sinusoids()
    sampler = ExampleSampler(family, shots=10, queries=10)
    algorithm = MAML(
        policy, InnerConfig(step_size=0.01), inner_loss=losses.mse, outer_loss=losses.mse
    )
    state = algorithm.init(models.parameters(module))
    before = None
    for i in range(15):
        tasks = family.sample(20, generator(0, i, 1))
        batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, i, 2))
        state, metrics = algorithm.update(state, batch)
        before = before or metrics["surrogate"] - metrics["surrogate/gain"]
        assert metrics["outcome"] == "accepted"
    assert metrics["surrogate"] > before  # minus the loss


@pytest.mark.gpu
def test_examples_and_optimizer_on_cuda():
    family = sinusoids()
    policy = models.functional(module := models.RegressionMLP(1, 1))
    algorithm = MAML(
        policy, outer=Optimizer(), inner_loss=losses.mse, outer_loss=losses.mse, chunk_size=2
    )
    tasks, found = family.sample(5, generator(0)), []
    for device in ("cpu", "cuda"):
        sampler = ExampleSampler(family, shots=4, queries=4, device=device)
        state = algorithm.init(tree.to(models.parameters(module), device))
        batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, 0, 0))
        assert all(leaf.device.type == device for leaf in tree.leaves(batch))
        state, _ = algorithm.update(state, batch)
        found.append(tree.ravel(tree.to(state.meta, "cpu"))[0])
    assert torch.allclose(*found, atol=1e-5)


def test_every_inner_step_has_examples_of_its_own():
    family = SinusoidTasks()
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(8,)))
    loss = losses.mse
    method = Reptile(
        models.functional(module), InnerConfig(steps=3), inner_loss=loss, outer_loss=loss
    )
    assert method.data_spec.fresh_support
    sampler = ExampleSampler(family, shots=4, queries=5, fresh_support=method.data_spec.steps)
    state = method.init(models.parameters(module))
    tasks = family.sample(2, np.random.default_rng(0))
    batch = collect(sampler, method.inner, state.meta, tasks, steps=3, key=(0, 0, 0))
    sets = [data.inputs for data in (*batch.support, batch.query)]
    assert [len(x[0]) for x in sets] == [4, 4, 4, 5]
    everything = torch.cat([x.flatten(1) for x in sets], 1)
    assert all(len(row.unique()) == 17 for row in everything)
    new, _ = method.update(state, batch)
    assert not torch.equal(*(tree.ravel(s.meta)[0] for s in (new, state)))
