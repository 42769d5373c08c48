"""What was made fast still computes what it did."""

import time
from dataclasses import replace

import pytest
import torch

from benchmarks import iteration
from benchmarks.physics import Physics
from rlmaml import profiling, tree
from rlmaml.linalg import conjugate_gradient, solve
from rlmaml.objective import (
    evaluate,
    fisher_product,
    gradient_and_reference,
    meta_gradient,
    over_tasks,
    reference,
)
from rlmaml.outer import trust_region
from rlmaml.returns import discounted_sum
from rlmaml.rng import Phase
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training.train import meta_batch
from tests.helpers.problems import random_batch


def test_one_task_at_a_time_is_all_at_once():
    rows = {"a": (torch.randn(3, 4, requires_grad=True), torch.randn(3, 4))}

    def function(tree, scale):
        a, b = tree["a"]
        return {"product": (a * b).sum() * scale, "pair": (a.exp(), b)}

    scale = torch.randn(3)
    found, expected = (over_tasks(function, size)(rows, scale) for size in (1, None))
    for one, other in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        torch.testing.assert_close(one, other)
    a = rows["a"][0]
    gradients = [torch.autograd.grad(each["product"].sum(), a)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_gradient_and_reference_are_those_computed_alone(chunk_size):
    objective, meta, batch = random_batch(2)
    objective = objective._replace(chunk_size=chunk_size)
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    expected = (*meta_gradient(objective, meta, batch), reference(objective, meta, batch))
    for one, other in zip(tree.leaves((losses, gradient, ref)), tree.leaves(expected), strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("fraction", [0.34, 1.0])
def test_curvature_does_not_depend_on_how_tasks_are_stacked(fraction):
    objective, meta, batch = random_batch(1)
    ref = reference(objective, meta, batch)
    v = torch.randn_like(tree.ravel(meta)[0])
    found = [
        fisher_product(objective._replace(chunk_size=size), meta, batch, ref, fraction=fraction)(v)
        for size in (1, 2, None)
    ]
    torch.testing.assert_close(found[0], found[2], atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found[1], found[2], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("length", [1, 2, 500])
def test_discounted_sum_is_its_recursion(length, discount):
    x = torch.randn(3, length, dtype=torch.float64)
    carry, expected = torch.zeros(3, dtype=torch.float64), torch.empty_like(x)
    for t in reversed(range(length)):
        expected[:, t] = carry = x[:, t] + discount * carry
    torch.testing.assert_close(discounted_sum(x, discount), expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("iterations", [1, 4, 50])
def test_residual_is_what_is_left(iterations):
    root = torch.randn(9, 9, dtype=torch.float64)
    a, b = root @ root.T + torch.eye(9), torch.randn(9, dtype=torch.float64)
    x, residual, spent = solve(lambda v: a @ v, b, iterations=iterations)
    torch.testing.assert_close(residual, b - a @ x, atol=1e-10, rtol=0)
    same, count = conjugate_gradient(lambda v: a @ v, b, iterations=iterations)
    assert torch.equal(x, same)
    assert spent == count


@pytest.mark.parametrize(
    ("factor", "candidates"), [(1.0, 1), (1 / 1.5, 2), (0.01, 2), (3.0, 2), (100.0, 2)]
)
def test_length_is_corrected_where_part_of_the_data_misjudges_it(monkeypatch, factor, candidates):
    """Curvature `factor` times the true one makes the squared length 1/factor times the right."""
    objective, meta, batch = random_batch(1)

    def misjudged(*arguments, fraction):
        product = fisher_product(*arguments, fraction=1.0)
        return lambda v: factor * product(v)

    monkeypatch.setattr(trust_region, "fisher_product", misjudged)
    config = trust_region.TrustRegion(
        max_kl=1e-4, fisher_fraction=0.5, damping=0.0, cg_iterations=3
    )
    ref = reference(objective, meta, batch)
    new, metrics = trust_region.update(objective, meta, batch, config)
    assert metrics["outcome"] == "accepted"
    assert metrics["line_search_steps"] == candidates
    kl = evaluate(objective, new, batch, ref)[1].mean().item()
    assert kl == pytest.approx(metrics["kl"])
    assert kl == pytest.approx(trust_region.AIM * config.max_kl, rel=0.06)


def judged(monkeypatch, *verdicts):
    """An update whose candidates have these (loss, KL), the collecting policy's loss being 0."""
    torch.manual_seed(0)
    objective, meta, batch = random_batch(1)
    found = [(torch.full((2,), loss), torch.full((2,), kl)) for loss, kl in verdicts]
    remaining = iter(found)
    monkeypatch.setattr(trust_region, "evaluate", lambda *arguments: next(remaining))
    losses, gradient, ref = gradient_and_reference(objective, meta, batch)
    answer = (0 * losses, gradient, ref)
    monkeypatch.setattr(trust_region, "gradient_and_reference", lambda *arguments: answer)
    config = trust_region.TrustRegion(max_kl=1.0, fisher_fraction=0.5, backtracks=len(verdicts))
    new, metrics = trust_region.update(objective, meta, batch, config)
    return metrics, (tree.ravel(new)[0] - tree.ravel(meta)[0]).norm().item()


def test_a_correction_is_one_of_the_candidates(monkeypatch):
    metrics, length = judged(monkeypatch, (-1.0, 4.0), (-1.0, 1.5), (1.0, 0.5))
    assert metrics["outcome"] == "no acceptable step"
    assert metrics["line_search_steps"] == 3
    assert length == 0


def test_a_short_step_is_taken_where_no_longer_one_will_do(monkeypatch):
    metrics, short = judged(monkeypatch, (-1.0, 0.01), (1.0, 0.9), (1.0, 0.7))
    assert metrics["outcome"] == "accepted"
    assert (metrics["surrogate/gain"], metrics["kl"]) == pytest.approx((1.0, 0.01))
    assert metrics["line_search_steps"] == 3
    metrics, corrected = judged(monkeypatch, (-1.0, 0.01), (-1.0, 0.9))
    assert metrics["line_search_steps"] == 2
    assert corrected == pytest.approx(short * (trust_region.AIM / 0.01) ** 0.5, rel=1e-4)


def test_tasks_are_stacked_by_their_size():
    config = PRESETS["half-cheetah-vel"][1]
    sizes = {(20, 200): 1, (40, 200): 1, (20, 100): 4, (20, 1): 400, (1, 1): 8000}
    for (episodes, horizon), tasks in sizes.items():
        assert replace(config, episodes=episodes, horizon=horizon).stacked == tasks
    assert replace(config, device="cuda").stacked is None
    assert replace(config, chunk_size=None).stacked is None
    assert replace(config, chunk_size=7).stacked == 7
    assert PRESETS["digits"][1].changed({"chunk_size": "auto"}).stacked is None
    for size in (0, -1, 2.5, "all", True):
        with pytest.raises(ValueError, match="chunk_size must be at least 1, None or auto"):
            replace(config, chunk_size=size)


def test_tf32_is_off_unless_asked_for():
    before = torch.get_float32_matmul_precision()
    try:
        for tf32, precision in ((True, "high"), (False, "highest")):
            build_experiment(small(tf32=tf32)).close()
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.set_float32_matmul_precision(before)


def small(**changed):
    config = replace(PRESETS["half-cheetah-vel"][1], tasks=2, episodes=3, horizon=5, threads=1)
    return replace(config, **changed)


def test_benchmark_accounts_for_all_of_an_iteration():
    threads = torch.get_num_threads()
    row = iteration.measure(small(), iterations=2)
    torch.set_num_threads(threads)
    parts = sum(row[name] for name in (*iteration.STAGES, "other"))
    assert parts == pytest.approx(row["total"], rel=0.5)  # sums of medians
    assert all(row[name] > 0 for name in iteration.STAGES)
    assert row["env_steps"] == 2 * 2 * 3 * 5
    assert 0 < row["floor"] < row["total"]
    assert row["iterations"] == 2


@pytest.mark.parametrize("changed", [{"inner.hessian": "separate"}, {"data": "examples"}])
def test_benchmark_refuses_what_has_no_such_floor(changed):
    with pytest.raises(SystemExit, match="The floor is that of episodes"):
        iteration.measure(small().changed(changed), iterations=1)


def test_bare_physics_passes_through_the_same_states():
    config = small(seed=3)
    experiment = build_experiment(config)
    physics = Physics(experiment.sampler.env)
    state = experiment.algorithm.init(experiment.params)
    batch = meta_batch(experiment, config, state.meta, 4)
    key = (3, 4, Phase.ROLLOUT)
    assert physics.seconds(batch.query, key, 1) > 0
    assert physics.ended_like(experiment.sampler.env)
    physics.seconds(batch.query, key, 0)  # other first states
    assert not physics.ended_like(experiment.sampler.env)
    physics.close()
    experiment.close()


def test_stages_are_timed_while_somebody_records():
    with profiling.timer("before"):
        pass
    with profiling.recorded() as outer, profiling.timer("a"):
        with profiling.recorded() as inner, profiling.timer("b"):
            time.sleep(0.01)
        with profiling.timer("a"):
            time.sleep(0.01)
    with profiling.timer("after"):
        pass
    assert set(outer) == {"a", "b"}
    assert set(inner) == {"b"}
    assert outer["b"] == pytest.approx(inner["b"], abs=0.005)
    assert outer["b"] >= 0.01
    assert outer["a"] >= outer["b"] + 0.01


def test_a_stage_that_fails_is_timed_and_ends():
    with profiling.recorded() as seconds:
        with pytest.raises(KeyError), profiling.timer("a"):
            raise KeyError
        with profiling.timer("b"):
            pass
    assert set(seconds) == {"a", "b"}
