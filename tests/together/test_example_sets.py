"""Sets of labeled examples drawn from the package's families."""

import gymnasium
import numpy as np
import pytest
import torch

import envs  # noqa: F401  registers the environments
from rlmaml import ExampleSampler, losses, models
from rlmaml.advantages import AdvantageConfig
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import (
    over_tasks,
)
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
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


def test_too_few_examples_are_explained():
    examples = family("Digits")
    ExampleSampler(examples, shots=60, queries=20)
    with pytest.raises(ValueError, match=r"takes 2 times its 60 shots.*120 shots"):
        ExampleSampler(examples, shots=60, queries=100, separate_hessian=True)


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
