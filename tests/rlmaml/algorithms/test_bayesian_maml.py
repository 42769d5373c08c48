"""Bayesian MAML: SVGD against direct loops, reductions to MAML, particles in policies and runs."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import losses, models, tree
from rlmaml.algorithms import bayesian_maml
from rlmaml.algorithms.bayesian_maml import BayesianMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.collect import collect
from rlmaml.inner import adapt
from rlmaml.method import InnerConfig
from rlmaml.objective import along_path, evaluate, meta_gradient, over_tasks, reference
from rlmaml.optimisers import Optimiser
from rlmaml.random import Phase, generator
from rlmaml.sampling import AdvantageConfig, RolloutSampler
from rlmaml.tasks import vectorise
from rlmaml.trpo import TrustRegion
from rlmaml.types import Examples, MetaBatch
from runners import cli
from runners import evaluate as runs
from runners.errors import UsageError
from runners.presets import PRESETS
from runners.runfolder import RunFolder
from tests.problems import TargetEnv, one, quadratic_loss, quadratics, random_episodes

ALPHA = 0.3
SGD = Optimiser("SGD", 0.1)
SHAPE = models.PolicyConfig(hidden=(6,), activation="tanh")


def shared(loss):
    """A loss of one particle where the method hands over a stack of one."""
    return lambda policy: lambda params, data: loss(tree.map(lambda leaf: leaf[0], params), data)


def on_quadratics(settings, steps=1, later=None):
    """The method on quadratic losses; what is predicted does not matter."""
    return BayesianMAML(
        lambda params, inputs: params["x"],
        InnerConfig(steps=steps, step_size=ALPHA, later_step_size=later),
        settings=BayesianMAML.Settings(**settings),
        inner_loss=shared(quadratic_loss),
        outer_loss=shared(quadratic_loss),
    )


def scattered(count=4, size=5, scale=1.0):
    return {"x": scale * torch.randn(count, size, dtype=torch.float64)}


def learning(kind="regression", *, settings=None, steps=2, method=BayesianMAML, outer=SGD):
    """A method and a batch of random examples of 3 inputs, in float64."""
    make = models.RegressionMLP if kind == "regression" else models.CategoricalMLP
    module = make(3, 2, SHAPE).double()
    loss = losses.mse if kind == "regression" else losses.cross_entropy

    def examples(count):
        x = torch.randn(4, count, 3, dtype=torch.float64)
        if kind == "regression":
            return Examples(x, torch.randn(4, count, 2, dtype=torch.float64))
        return Examples(x, torch.randint(2, (4, count)))

    settings = None if settings is None else method.Settings(**settings)
    inner = InnerConfig(steps=steps, step_size=ALPHA)
    made = method(
        models.functional(module), inner, outer, settings, inner_loss=loss, outer_loss=loss
    )
    batch = MetaBatch((examples(5),) * steps, examples(7))
    return made, models.parameters(module), batch


def acting(count, *, episodes=6, steps=1, kind=models.GaussianMLP, inner=None, **settings):
    """A method, parameters that differ between particles, and a batch of random episodes."""
    module = kind(3, 2, SHAPE).double()
    method = BayesianMAML(
        models.functional(module),
        inner or InnerConfig(steps=steps, step_size=ALPHA),
        settings=BayesianMAML.Settings(particles=count, **settings),
    )
    meta = method.begin(models.parameters(module))
    size = {"tasks": 3, "episodes": episodes, "horizon": 4, "observation_size": 3}
    stacked, params, support = over_tasks(method.policy), tree.repeat(meta["params"], 3), []
    for k in range(steps):
        support.append(random_episodes(stacked, params, seed=k, **size))
        params = over_tasks(lambda p, d, k=k: method.inner.step(meta, p, d, k))(params, support[-1])
    batch = MetaBatch(tuple(support), random_episodes(stacked, params, seed=99, **size))
    return method, meta, batch


# The inner step.


def rbf(a, b, bandwidth):
    return (-(a - b).square().sum() / bandwidth).exp()


def median_bandwidth(x):
    pairs = [(x[i] - x[j]).square().sum().item() for i in range(len(x)) for j in range(i)]
    return float(np.median(pairs)) / math.log(len(x))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("scale", [0.3, 3.0])
@pytest.mark.parametrize("prior", [0.0, 0.7])
def test_a_step_against_a_loop_over_pairs(count, scale, prior):
    """∇k by finite differences of k, ∇log p by differentiating it."""
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": count, "prior": prior, "repulsion": 0.4})
    particles = scattered(count, scale=scale)
    x = particles["x"]
    bandwidth, step = median_bandwidth(x), 1e-6
    eye = torch.eye(5, dtype=torch.float64)
    expected = x.clone()
    for m in range(count):
        for j in range(count):
            score = -task.curvature @ (x[j] - task.centre) - prior * x[j]
            gradient = torch.stack(
                [
                    (rbf(x[j] + step * e, x[m], bandwidth) - rbf(x[j] - step * e, x[m], bandwidth))
                    / (2 * step)
                    for e in eye
                ]
            )
            expected[m] += ALPHA / count * (rbf(x[j], x[m], bandwidth) * score + 0.4 * gradient)
    found = method.inner.step({}, particles, task, 0)["x"]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_particles_far_apart_go_their_own_way():
    """Where k is nearly 0, each moves by ε / M times its own gradient."""
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": 12})
    near = scattered(11)["x"]  # most pairs are near, so that one more is far in their bandwidth
    x = torch.cat([near, near[:1] + 1e3])
    moved = method.inner.step({}, {"x": x}, task, 0)["x"] - x
    torch.testing.assert_close(moved[-1], -ALPHA / 12 * task.curvature @ (x[-1] - task.centre))
    assert not torch.allclose(moved[0], -ALPHA / 12 * task.curvature @ (x[0] - task.centre))


def test_the_order_of_particles_does_not_matter():
    task = one(quadratics(1, 5), 0)
    method, order = on_quadratics({"particles": 4}), torch.tensor([2, 0, 3, 1])
    particles = scattered(4)
    moved = method.inner.step({}, particles, task, 0)["x"]
    again = method.inner.step({}, {"x": particles["x"][order]}, task, 0)["x"]
    torch.testing.assert_close(again, moved[order])


def test_particles_that_coincide_stay_together_and_have_derivatives():
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": 3})
    x = scattered(1)["x"].repeat(3, 1).requires_grad_()
    moved = method.inner.step({}, {"x": x}, task, 0)["x"]
    torch.testing.assert_close(moved[0], x[0] - ALPHA * task.curvature @ (x[0] - task.centre))
    torch.testing.assert_close(moved, moved[:1].expand(3, -1))
    assert torch.autograd.grad(moved.square().sum(), x)[0].isfinite().all()


def test_steps_after_the_first_have_their_own_size():
    task = one(quadratics(1, 5), 0)
    method = on_quadratics({"particles": 3})
    later = on_quadratics({"particles": 3}, later=ALPHA / 2)
    particles = scattered(3)
    whole = method.inner.step({}, particles, task, 1)["x"] - particles["x"]
    first, second = (later.inner.step({}, particles, task, k)["x"] for k in range(2))
    torch.testing.assert_close(first - particles["x"], whole)
    torch.testing.assert_close(second - particles["x"], whole / 2)


def test_the_repulsion_draws_from_the_posterior():
    """Of a Gaussian with precision A and weight τ: variance τ / A, in one dimension."""
    task = one(quadratics(1, 1), 0)
    settings = {"particles": 40, "repulsion": 0.5}
    method = BayesianMAML(
        lambda params, inputs: params["x"],
        InnerConfig(step_size=ALPHA),
        settings=BayesianMAML.Settings(**settings),
        inner_loss=shared(quadratic_loss),
    )
    particles = {"x": torch.linspace(-0.1, 0.1, 40, dtype=torch.float64)[:, None]}
    for _ in range(2000):
        particles = method.inner.step({}, particles, task, 0)
    x = particles["x"]
    assert x.mean().item() == pytest.approx(task.centre.item(), abs=0.02)
    assert x.var().item() == pytest.approx(0.5 / task.curvature.item(), rel=0.15)


# One particle, a flat prior and the query loss are MAML.


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("outer", [SGD, TrustRegion()])
def test_one_particle_is_maml_on_examples(kind, steps, outer):
    torch.manual_seed(0)
    alone = {"particles": 1, "loss": "query"}
    bayesian, params, batch = learning(kind, settings=alone, steps=steps, outer=outer)
    torch.manual_seed(0)
    plain, *_ = learning(kind, method=MAML, steps=steps, outer=outer)
    found, metrics = bayesian.update(bayesian.init(params), batch)
    expected, theirs = plain.update(plain.init(params), batch)
    assert metrics["outcome"] == theirs["outcome"] == "accepted"
    assert metrics["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-12)
    # Conjugate gradients take the last bits further.
    close = {"rtol": 1e-12, "atol": 1e-12} if outer is SGD else {"rtol": 1e-4, "atol": 1e-7}
    for name, value in expected.meta["params"].items():
        torch.testing.assert_close(found.meta["params"][name][0], value, **close)


@pytest.mark.parametrize("surrogate", ["log-likelihood", "lvc", "dice"])
def test_one_particle_is_maml_on_episodes(surrogate):
    method, meta, batch = acting(1, inner=InnerConfig(step_size=ALPHA, surrogate=surrogate))
    params = method.network(meta["params"])
    module = models.GaussianMLP(3, 2, SHAPE)
    plain = MAML(models.functional(module), method.config)
    one_state, other = method.restore(meta), plain.init(params)
    _, found = meta_gradient(method.objective(one_state), meta, batch)
    _, expected = meta_gradient(plain.objective(other), other.meta, batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    (one_state, metrics), (other, theirs) = (
        made.update(state, batch) for made, state in ((method, one_state), (plain, other))
    )
    assert metrics["outcome"] == theirs["outcome"] == "accepted"
    # Conjugate gradients take the last bits further.
    ends = [tree.ravel(state.meta)[0] for state in (one_state, other)]
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)


# The outer loss.


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 2])
@pytest.mark.parametrize("later", [None, 0.2])
def test_the_chaser_loss_of_one_particle_in_closed_form(steps, ahead, later):
    """The leader goes on with the mean of both losses: a quadratic again."""
    support, query = quadratics(4, 5, seed=1), quadratics(4, 5, seed=2)
    settings = {"particles": 1, "loss": "chaser", "leader_steps": ahead}
    method = on_quadratics(settings, steps, later)
    sizes = [ALPHA, *[later or ALPHA] * 4]
    meta = method.begin({"x": torch.randn(5, dtype=torch.float64)})
    found, gradient = meta_gradient(
        method.objective(method.restore(meta)), meta, MetaBatch((support,) * steps, query)
    )
    theta, eye = meta["params"]["x"][0], torch.eye(5, dtype=torch.float64)
    total, values = torch.zeros(5, dtype=torch.float64), []
    for i in range(4):
        d, o = one(support, i), one(query, i)
        power = eye
        for size in sizes[:steps]:
            power = (eye - size * d.curvature) @ power
        end = leader = d.centre + power @ (theta - d.centre)
        sets = (d, o) if steps else (o,)
        for size in sizes[steps : steps + ahead]:
            slopes = [s.curvature @ (leader - s.centre) for s in sets]
            leader = leader - size * torch.stack(slopes).mean(0)
        values.append((end - leader).square().sum())
        total += 2 * power.T @ (end - leader) / 4
    torch.testing.assert_close(found, torch.stack(values))
    torch.testing.assert_close(gradient, total)


def by_finite_differences(function, meta, step=1e-6):
    theta, unravel = tree.ravel(meta)
    directions = torch.eye(len(theta), dtype=theta.dtype)[:: max(1, len(theta) // 12)]
    for direction in directions:
        up, down = (function(unravel(theta + sign * step * direction)) for sign in (1, -1))
        yield direction, ((up - down) / (2 * step)).item()


@pytest.fixture
def fixed_bandwidth(monkeypatch):
    """The bandwidth counts as a constant, so for finite differences it is one."""
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: 0.5 * torch.ones_like(d[0, 0]))


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.usefixtures("fixed_bandwidth")
def test_the_query_loss_by_finite_differences(kind):
    settings = {"particles": 3, "repulsion": 0.3, "prior": 0.1}
    method, params, batch = learning(kind, settings=settings)
    meta = near(method.begin(params))
    objective = method.objective(method.restore(meta))
    _, gradient = meta_gradient(objective, meta, batch)
    ref = reference(objective, meta, batch)
    for direction, slope in by_finite_differences(
        lambda m: evaluate(objective, m, batch, ref)[0].mean(), meta
    ):
        assert slope == pytest.approx((gradient @ direction).item(), abs=1e-7)


@pytest.mark.usefixtures("fixed_bandwidth")
def test_the_chaser_loss_by_finite_differences():
    """With the leader where it is."""
    settings = {"particles": 3, "loss": "chaser", "leader_steps": 2, "repulsion": 0.3}
    method, params, batch = learning(settings=settings)
    meta = near(method.begin(params))
    found, gradient = meta_gradient(method.objective(method.restore(meta)), meta, batch)
    union = tree.map(lambda a, b: torch.cat([a, b], 1), batch.support[0], batch.query)
    everything = batch._replace(support=(*batch.support, union, union))
    leaders = over_tasks(lambda d: adapt(method.inner, meta, d.support)[-1])(everything)

    def distance(m):
        ends = over_tasks(lambda d: adapt(method.inner, m, d.support)[-1])(batch)
        gaps = tree.map(lambda a, b: (a - b).square().flatten(1).sum(1), ends, leaders)
        return sum(tree.leaves(gaps)).mean()

    torch.testing.assert_close(found.mean(), distance(meta))
    assert found.mean() > 1e-3
    for direction, slope in by_finite_differences(distance, meta):
        assert slope == pytest.approx((gradient @ direction).item(), abs=1e-7)


def near(meta):
    """Particles near enough to each other for the kernel to matter."""
    return tree.map(lambda x: x[:1] + 0.1 * torch.randn_like(x), meta)


def test_the_bandwidth_is_taken_for_a_constant(monkeypatch):
    task, method = one(quadratics(1, 5), 0), on_quadratics({"particles": 4, "repulsion": 3.0})
    particles, weights = scattered(), torch.randn(4, 5, dtype=torch.float64)

    def slope():
        return torch.func.grad(lambda p: (method.inner.step({}, p, task, 0)["x"] * weights).sum())(
            particles
        )["x"]

    found, value = slope(), median_bandwidth(particles["x"])
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: torch.full_like(d[0, 0], value))
    torch.testing.assert_close(found, slope())


# Particles in a policy.


def test_a_regression_predicts_the_particles_mean_and_their_spread():
    method, params, batch = learning(settings={"particles": 3})
    meta = method.begin(params)
    x = batch.query.inputs[0]
    single = models.functional(models.RegressionMLP(3, 2, SHAPE).double())
    means = torch.stack([single(p, x).mean for p in method.particles(meta["params"])])
    found = method.policy(meta["params"], x)
    torch.testing.assert_close(found.mean, means.mean(0))
    variance = 1 + (means - means.mean(0)).square().mean(0)
    torch.testing.assert_close((2 * found.log_std).exp(), variance)
    assert variance.max() > 1.1
    data = one(batch.query, 0)
    expected = (means.mean(0) - data.targets).square().sum(-1).mean()
    torch.testing.assert_close(method.loss(meta["params"], data), expected)


def test_a_classification_predicts_mean_probabilities():
    method, params, batch = learning("classification", settings={"particles": 3})
    meta, x = method.begin(params), batch.query.inputs[0]
    single = models.functional(models.CategoricalMLP(3, 2, SHAPE).double())
    each = [single(p, x).logits.softmax(-1) for p in method.particles(meta["params"])]
    found = method.policy(meta["params"], x)
    torch.testing.assert_close(found.logits.exp(), torch.stack(each).mean(0))


def test_every_particle_sees_all_examples_and_only_its_own_episodes(monkeypatch):
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: torch.full_like(d[0, 0], 1e-9))
    method, params, batch = learning(settings={"particles": 3})
    data = one(batch.support[0], 0)
    changed = data._replace(targets=data.targets + 9 * torch.eye(5)[:, :1])
    assert moved(method, method.begin(params)["params"], data, changed) == [True] * 3
    method, meta, batch = acting(3)
    data = one(batch.support[0], 0)
    for i in range(6):
        changed = data._replace(advantages=data.advantages + 9 * torch.eye(6)[:, i, None])
        found = moved(method, meta["params"], data, changed)
        assert found == [m == i % 3 for m in range(3)]


def moved(method, params, *sets):
    """Which particles step elsewhere on one than on the other of two data sets."""
    one_step, other = (method.inner.step({}, params, data, 0) for data in sets)
    gaps = tree.leaves(tree.map(lambda a, b: (a - b).abs().flatten(1).amax(1), one_step, other))
    return (torch.stack(gaps).amax(0) > 1e-9).tolist()


@pytest.mark.parametrize("kind", [models.GaussianMLP, models.CategoricalMLP])
def test_episode_i_is_acted_by_particle_i_mod_m(kind):
    """While sampling [B, *obs] and in losses [B, T, *obs], for any B."""
    method, meta, _ = acting(3, kind=kind)
    single = models.functional(kind(3, 2, SHAPE).double())
    for shape in ((1, 3), (2, 3), (3, 3), (7, 3), (7, 4, 3)):
        inputs = torch.randn(shape, dtype=torch.float64)
        found = method.policy(meta["params"], inputs)[0]
        each = method.particles(meta["params"])
        expected = torch.cat([single(each[i % 3], row[None])[0] for i, row in enumerate(inputs)])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("inner", [InnerConfig(), InnerConfig(reduction="episodes", steps=2)])
def test_episodes_of_a_step_against_a_loop(inner):
    method, meta, batch = acting(3, inner=inner, repulsion=0.0)
    single = models.functional(models.GaussianMLP(3, 2, SHAPE).double())
    loss = losses.likelihood_ratio(single, inner.reduction)
    data, params = one(batch.support[0], 0), meta["params"]
    gradients = [
        torch.func.grad(loss)(particle, tree.map(lambda leaf, m=m: leaf[m::3], data))
        for m, particle in enumerate(method.particles(params))
    ]
    flat = torch.stack([tree.ravel(p)[0] for p in method.particles(params)])
    h = median_bandwidth(flat)
    for m, particle in enumerate(method.particles(method.inner.step(meta, params, data, 0))):
        expected = flat[m] - inner.step_size / 3 * sum(
            rbf(flat[j], flat[m], h) * tree.ravel(gradients[j])[0] for j in range(3)
        )
        torch.testing.assert_close(tree.ravel(particle)[0], expected)


def test_particles_begin_as_permutations_of_the_network():
    method, params, _ = learning(settings={"particles": 3})
    meta = method.begin(params)
    for name, leaf in params.items():
        stacked = meta["params"][name]
        assert torch.equal(stacked[0], leaf)
        assert stacked.shape == (3, *leaf.shape)
        torch.testing.assert_close(
            stacked.flatten(1).sort(1).values, leaf.flatten().sort().values.expand(3, -1)
        )
    weight = meta["params"]["mean.0.weight"]
    assert not torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[1], weight[2])
    assert torch.equal(weight, method.begin(params)["params"]["mean.0.weight"])  # no global state


def test_a_network_is_there_for_one_particle_alone():
    method, params, _ = learning(settings={"particles": 3})
    assert method.network(method.begin(params)["params"]) is None
    method, params, _ = learning(settings={"particles": 1})
    found = method.network(method.begin(params)["params"])
    assert all(torch.equal(found[name], leaf) for name, leaf in params.items())


# Training.


@pytest.mark.parametrize("settings", [{}, {"loss": "chaser"}])
@pytest.mark.parametrize("outer", [None, Optimiser()])
def test_episodes_are_collected_and_learned_from(settings, outer):
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    settings = BayesianMAML.Settings(particles=3, **settings)
    method = BayesianMAML(models.functional(module), InnerConfig(steps=2), outer, settings)
    env = vectorise(TargetEnv, 4 * 6)
    sampler = RolloutSampler(
        env, method.policy, episodes=6, horizon=2, advantages=AdvantageConfig()
    )
    state = method.init(models.parameters(module))
    tasks = env.sample_tasks(4, generator(0, 0, Phase.TASKS))
    batch = collect(sampler, method.inner, state.meta, tasks, steps=2, key=(0, 0, Phase.ROLLOUT))
    before = state.meta["params"]["mean.0.weight"]
    state, metrics = method.update(state, batch)
    assert metrics["outcome"] == "accepted"
    changed = (state.meta["params"]["mean.0.weight"] - before).flatten(1).any(1)
    assert changed.all()


@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_a_few_updates_improve_the_prediction(loss):
    torch.manual_seed(0)
    adam = Optimiser(learning_rate=0.02)
    method, params, batch = learning(settings={"particles": 4, "loss": loss}, outer=adam)
    state, found = method.init(params), []
    for _ in range(60):
        found.append(along_path(method.inner, state.meta, batch, {"loss": method.loss})["loss"])
        state, _ = method.update(state, batch)
    assert found[-1][:, -1].mean() < 0.8 * found[0][:, -1].mean()


@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_saved_and_restored_to_the_bit(loss):
    method, params, batch = learning(
        settings={"particles": 3, "loss": loss}, outer=Optimiser("Adam")
    )
    state, _ = method.update(method.init(params), batch)
    again = method.restore(state.meta, method.saved(state))
    assert again.iteration == 1
    (one_state, _), (other, _) = method.update(again, batch), method.update(state, batch)
    assert torch.equal(tree.ravel(one_state.meta)[0], tree.ravel(other.meta)[0])


# Runs, and what is refused.


@pytest.mark.parametrize(
    ("preset", "x", "y"),
    [
        ("sinusoid", np.linspace(-5, 5, 10)[:, None], np.sin(np.linspace(-5, 5, 10))[:, None]),
        ("linear-classification", np.eye(4, 2), np.array([0, 1, 0, 1])),
    ],
)
@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_adapting_in_python_to_examples(tmp_path, preset, x, y, loss):
    run(tmp_path, preset, "--method.loss", loss, "--method.particles", "3")
    predictor = rlmaml.load(tmp_path / "run").adapt(x, y, steps=2)
    assert predictor.predict(x).shape == y.shape
    assert len(next(iter(predictor.module.adapted.values()))) == 3


def test_adapting_in_python_to_an_environment(tmp_path):
    words = ("--method.particles", "3", "--episodes", "6", "--horizon", "5", "--tasks", "2")
    run(tmp_path, "navigation", *words, "--trust-region.fisher-fraction", "0.5")
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0")
    env.unwrapped.set_task(np.array([0.2, 0.3]))
    policy = rlmaml.load(tmp_path / "run").adapt(env, steps=2)
    action = policy.act(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
    with pytest.raises(ValueError, match="particles, 3; got 4"):
        rlmaml.load(tmp_path / "run").adapt(env, episodes=4)


def run(tmp_path, preset, *words):
    shared = ("--algorithm", "bayesian-maml", "--iterations", "1", "--quiet")
    cli.main(["train", preset, "--out", str(tmp_path / "run"), *shared, *words])


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("sinusoid", {"outer": "trust-region"}, "no trust region"),
        ("digits", {"method.loss": "chaser", "outer": "trust-region"}, "no trust region"),
        ("navigation", {"method.loss": "chaser"}, "no trust region"),
        ("navigation", {"episodes": 21}, "episodes must be a multiple of method.particles, 5"),
        (
            "navigation",
            {"trust_region.fisher_fraction": 0.1},
            "fisher_fraction .* must be a multiple",
        ),
        (
            "navigation",
            {"method.loss": "chaser", "outer": "optimiser", "inner.surrogate": "log-likelihood"},
            "does not correct for",
        ),
        ("sinusoid", {"method.particles": 0}, "method.particles must be at least 1"),
        ("sinusoid", {"method.leader_steps": 0}, "method.leader_steps must be at least 1"),
        ("sinusoid", {"method.prior": -1.0}, "method.prior must be zero or positive"),
        ("sinusoid", {"method.repulsion": -1.0}, "method.repulsion must be zero or positive"),
    ],
)
def test_what_is_refused(preset, changes, message):
    config = PRESETS[preset][1].with_algorithm("bayesian-maml")

    def change():
        parts = {}
        for option, value in changes.items():
            group, _, name = option.rpartition(".")
            part = parts.get(group, getattr(config, group)) if group else None
            parts[group or name] = dataclasses.replace(part, **{name: value}) if group else value
        dataclasses.replace(config, **parts)

    with pytest.raises(ValueError, match=message):
        change()


def test_an_evaluation_may_have_other_numbers_of_episodes(tmp_path):
    """It takes no curvature, so a part of the episodes need not be a multiple."""
    words = ("--method.particles", "2", "--episodes", "8", "--horizon", "5", "--tasks", "2")
    run(tmp_path, "navigation", *words, "--trust-region.fisher-fraction", "0.25")
    folder = RunFolder(tmp_path / "run")
    options = {"tasks": 2, "steps": 4, "quiet": True}
    assert len(runs.evaluate(folder, episodes=4, **options)["mean"]) == 5
    with pytest.raises(UsageError, match="episodes must be a multiple"):
        runs.evaluate(folder, episodes=5, **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_goes_with_the_usual_settings(preset):
    config = PRESETS[preset][1]
    usual = config.with_algorithm("bayesian-maml")  # or it is refused
    assert usual.inner.step_size == pytest.approx(2.5 * config.inner.step_size)
    shorter = dataclasses.replace(config, episodes=15).with_algorithm("bayesian-maml")
    assert shorter.trust_region.fisher_fraction <= 1
