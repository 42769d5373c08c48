"""Supervised learning as the special case H = 1: losses, meta-gradient, models, sampler."""

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import envs  # noqa: F401  registers the worlds
from rlmaml import ExampleSampler, Optimizer, losses, models, tree
from rlmaml.adjoints import first_order, unrolled
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.base import InnerConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.inner import adapt, gradient_descent
from rlmaml.objective import (
    Objective,
    along_iterates,
    at_end,
    evaluate,
    fisher_product,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.outer import trust_region
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from rlmaml.types import Episodes, Examples, MetaBatch
from tests.helpers.problems import ADJOINTS, end_loss, mean_outer_loss, one

KINDS = ("regression", "classification")
ALPHA = 0.3


def problem(kind, *, tasks=4, shots=5, queries=7, steps=2, seed=0, adjoint=unrolled):
    """Random examples of 3 inputs, and an objective with its meta-parameters, in float64."""
    torch.manual_seed(seed)
    config = models.PolicyConfig(hidden=(6,), activation="tanh")
    make = models.RegressionMLP if kind == "regression" else models.CategoricalMLP
    policy = models.functional(module := make(3, 2, config).double())
    loss = (losses.mse if kind == "regression" else losses.cross_entropy)(policy)

    def examples(count):
        x = torch.randn(tasks, count, 3, dtype=torch.float64)
        if kind == "regression":
            return Examples(x, torch.randn(tasks, count, 2, dtype=torch.float64))
        return Examples(x, torch.randint(2, (tasks, count)))

    batch = MetaBatch((examples(shots),) * steps, examples(queries))
    objective = Objective(gradient_descent(loss, ALPHA), adjoint, at_end(loss), policy)
    return objective, {"params": models.parameters(module)}, batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_meta_gradient_against_finite_differences(kind, chunk_size):
    objective, meta, batch = problem(kind)
    objective = objective._replace(chunk_size=chunk_size)
    theta, unravel = tree.ravel(meta)
    _, gradient = meta_gradient(objective, meta, batch)
    for direction in torch.randn(5, len(theta), dtype=torch.float64):
        h = 1e-5
        ahead, behind = (
            mean_outer_loss(objective, unravel(theta + sign * h * direction), batch)
            for sign in (1, -1)
        )
        assert torch.isclose(gradient @ direction, (ahead - behind) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_meta_gradient_against_an_explicit_loop(kind):
    """Plain autograd with create_graph, losses from torch.nn.functional, no vmap."""
    objective, meta, batch = problem(kind)
    names = list(meta["params"])
    theta = [value.clone().requires_grad_() for value in meta["params"].values()]

    def loss(values, data):
        weights = dict(zip(names, values, strict=True))
        root = "mean" if kind == "regression" else "logits"
        hidden = torch.tanh(data.inputs @ weights[f"{root}.0.weight"].T + weights[f"{root}.0.bias"])
        out = hidden @ weights[f"{root}.2.weight"].T + weights[f"{root}.2.bias"]
        if kind == "classification":
            return nn.functional.cross_entropy(out, data.targets)
        return nn.functional.mse_loss(out, data.targets) * out.shape[1]  # summed over outputs

    total = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        data, values = one(batch, i), theta
        for support in data.support:
            slopes = torch.autograd.grad(loss(values, support), values, create_graph=True)
            values = [v - ALPHA * s for v, s in zip(values, slopes, strict=True)]
        total = total + loss(values, data.query) / 4
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(total, theta)])
    found, gradient = meta_gradient(objective, meta, batch)
    assert torch.allclose(found.mean(), total)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def test_first_order_is_exact_where_the_hessian_vanishes():
    """An inner loss that is linear in the parameters has no curvature to ignore."""
    batch = problem("regression")[2]
    linear = nn.Linear(3, 2).double()
    policy = models.functional(linear)

    def correlation(params, data):
        return -(policy(params, data.inputs) * data.targets).sum(-1).mean()

    def squared(params, data):
        return (policy(params, data.inputs) - data.targets).square().sum(-1).mean()

    meta = {"params": models.parameters(linear)}
    gradients = {}
    for name, loss in (("flat", correlation), ("curved", squared)):
        for adjoint in (unrolled, first_order):
            flat = Objective(gradient_descent(loss, ALPHA), adjoint, at_end(squared), policy)
            gradients[name, adjoint] = meta_gradient(flat, meta, batch)[1]
    assert torch.allclose(gradients["flat", unrolled], gradients["flat", first_order], rtol=1e-12)
    assert not torch.allclose(gradients["curved", unrolled], gradients["curved", first_order])


def as_episodes(examples, advantage=1.0):
    """Examples of one task as episodes of one step whose actions are the targets."""
    count = len(examples.targets)
    zeros = torch.zeros(count, 1, dtype=torch.float64)
    return Episodes(
        observations=examples.inputs[:, None],
        actions=examples.targets[:, None],
        rewards=zeros,
        log_probs=zeros,
        values=zeros,
        advantages=zeros + advantage,
        mask=zeros + 1,
        terminated=zeros[:, 0] + 1,
        final_observations=examples.inputs,
        diagnostics={"diverged": zeros},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_supervised_losses_are_policy_gradient_losses(kind):
    """Half the MSE is a unit Gaussian's with a constant more, cross-entropy a Categorical's."""
    objective, meta, batch = problem(kind)
    data = one(batch.query, 0)
    surrogate = losses.log_likelihood(objective.policy)
    scale, constant = (0.5, np.log(2 * np.pi)) if kind == "regression" else (1.0, 0.0)
    episodes = as_episodes(data)  # two outputs: 2 · ½ log 2π
    expected = scale * end_loss(objective)(meta["params"], data) + constant
    assert torch.isclose(surrogate(meta["params"], episodes), expected, rtol=1e-12)
    ours, theirs = (
        tree.ravel(torch.func.grad(loss)(meta["params"], x))[0]
        for loss, x in ((end_loss(objective), data), (surrogate, episodes))
    )
    assert torch.allclose(scale * ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_fisher_product_is_the_hessian_of_the_kl(kind, adjoint):
    objective, meta, batch = problem(kind, tasks=2, adjoint=ADJOINTS[adjoint])
    theta, unravel = tree.ravel(meta)
    ref = reference(objective, meta, batch)

    def divergence(vector):
        moved = unravel(vector)

        def kl(data, old):
            params = objective.adjoint(objective.inner, moved, data.support)[-1]
            return old.kl(objective.policy(params, data.query.inputs)).mean()

        return over_tasks(kl)(batch, ref.policy).mean()

    hessian = torch.autograd.functional.hessian(divergence, theta)
    product = fisher_product(objective, meta, batch, ref)
    for v in torch.randn(3, len(theta), dtype=torch.float64):
        assert torch.allclose(product(v), hessian @ v, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_trust_region_works_unchanged(kind, fraction):
    objective, meta, batch = problem(kind)
    config = trust_region.TrustRegion(fisher_fraction=fraction)
    new, metrics = trust_region.update(objective, meta, batch, config)
    ref = reference(objective, meta, batch)
    before, after = (evaluate(objective, m, batch, ref)[0].mean() for m in (meta, new))
    assert metrics["outcome"] == "accepted"
    assert after < before
    assert 0 < metrics["kl"] <= config.max_kl


def test_along_path_is_the_loss_after_each_step():
    objective, meta, batch = problem("classification", steps=3)
    share = losses.accuracy(objective.policy)
    found = along_iterates(
        objective.inner, meta, batch, {"loss": end_loss(objective), "accuracy": share}
    )
    for i in range(4):
        data = one(batch, i)
        for k, params in enumerate(adapt(objective.inner, meta, data.support)):
            assert torch.isclose(found["loss"][i, k], end_loss(objective)(params, data.query))
            predicted = objective.policy(params, data.query.inputs).logits.argmax(-1)
            assert found["accuracy"][i, k] == (predicted == data.query.targets).float().mean()


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


def test_functional_models_take_any_leading_shape():
    model = models.RegressionMLP(3, 2)
    x = torch.randn(4, 5, 3)
    out = functional_call(model, dict(model.named_parameters()), (x,))
    assert out.mean.shape == (4, 5, 2)
    assert (out.log_std == 0).all()


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
