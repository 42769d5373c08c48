"""Bayesian MAML: particles in policies, and their training."""

import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms import bayesian_maml
from rlmaml.algorithms.bayesian_maml import BayesianMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import along_iterates
from rlmaml.outer.optimizer import Optimizer
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.particles import SHAPE, acting, learning, median_bandwidth, rbf
from tests.helpers.problems import TargetEnv, one

# Particles in a policy.


def test_a_regression_predicts_the_particles_mean_and_their_spread():
    method, params, batch = learning(settings={"particles": 3})
    meta = method.init_meta(params)
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
    meta, x = method.init_meta(params), batch.query.inputs[0]
    single = models.functional(models.CategoricalMLP(3, 2, SHAPE).double())
    each = [single(p, x).logits.softmax(-1) for p in method.particles(meta["params"])]
    found = method.policy(meta["params"], x)
    torch.testing.assert_close(found.logits.exp(), torch.stack(each).mean(0))


def test_every_particle_sees_all_examples_and_only_its_own_episodes(monkeypatch):
    monkeypatch.setattr(bayesian_maml, "bandwidth", lambda d: torch.full_like(d[0, 0], 1e-9))
    method, params, batch = learning(settings={"particles": 3})
    data = one(batch.support[0], 0)
    changed = data._replace(targets=data.targets + 9 * torch.eye(5)[:, :1])
    assert moved(method, method.init_meta(params)["params"], data, changed) == [True] * 3
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
    meta = method.init_meta(params)
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
    assert torch.equal(
        weight, method.init_meta(params)["params"]["mean.0.weight"]
    )  # no global state


def test_a_network_is_there_for_one_particle_alone():
    method, params, _ = learning(settings={"particles": 3})
    assert method.network(method.init_meta(params)["params"]) is None
    method, params, _ = learning(settings={"particles": 1})
    found = method.network(method.init_meta(params)["params"])
    assert all(torch.equal(found[name], leaf) for name, leaf in params.items())


# Training.


@pytest.mark.parametrize("settings", [{}, {"loss": "chaser"}])
@pytest.mark.parametrize("outer", [None, Optimizer()])
def test_episodes_are_collected_and_learned_from(settings, outer):
    module = models.GaussianMLP(1, 1, models.PolicyConfig(hidden=(8,), init_log_std=-0.5))
    settings = BayesianMAML.Settings(particles=3, **settings)
    method = BayesianMAML(models.functional(module), InnerConfig(steps=2), outer, settings)
    env = vectorize(TargetEnv, 4 * 6)
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
@pytest.mark.slow
def test_a_few_updates_improve_the_prediction(loss):
    torch.manual_seed(0)
    adam = Optimizer(learning_rate=0.02)
    method, params, batch = learning(settings={"particles": 4, "loss": loss}, outer=adam)
    state, found = method.init(params), []
    for _ in range(60):
        found.append(along_iterates(method.inner, state.meta, batch, {"loss": method.loss})["loss"])
        state, _ = method.update(state, batch)
    assert found[-1][:, -1].mean() < 0.8 * found[0][:, -1].mean()


@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_saved_and_restored_to_the_bit(loss):
    method, params, batch = learning(
        settings={"particles": 3, "loss": loss}, outer=Optimizer("Adam")
    )
    state, _ = method.update(method.init(params), batch)
    again = method.load_state_dict(state.meta, method.state_dict(state))
    assert again.iteration == 1
    (one_state, _), (other, _) = method.update(again, batch), method.update(state, batch)
    assert torch.equal(tree.ravel(one_state.meta)[0], tree.ravel(other.meta)[0])
