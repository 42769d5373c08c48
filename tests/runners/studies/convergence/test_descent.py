"""Iterations, resting points, and the rule on a network."""

import json
import math

import pytest
import torch

from rlmaml import tree
from rlmaml.errors import ConfigError
from runners.build import build
from runners.cli import main
from runners.presets import PRESETS
from runners.studies.convergence import bounds, iterations, practice, stalling
from runners.studies.convergence.descent import exactly, exponent, update, when
from runners.studies.convergence.problems import Constants, Cosines, Quadratics, full_batch
from runners.studies.convergence.study import theory


@pytest.mark.parametrize("power", iterations.POWERS)
def test_iterations_grow_with_the_expected_power(power):
    found = iterations.measured(power, 10_000)
    assert found["exponent"] == pytest.approx((power + 2) / (power + 1), abs=0.03)
    assert len(found["iterations"]) >= 5
    assert min(found["iterations"]) >= 2500
    pairs = zip(found["iterations"], found["bound"], strict=True)
    assert all(0 < count <= bound for count, bound in pairs)


def test_samples_in_the_theorems_batches_do_what_all_data_do():
    found = iterations.stochastic()
    assert found["reached"] <= found["precision"]
    assert found["iterations"] <= found["bound"]
    assert found["iterations"] == pytest.approx(found["iterations_with_all_data"], rel=0.1)


def test_the_exponent_of_a_power_law_with_a_start():
    precisions = 2.0 ** -torch.arange(6, dtype=torch.float64)
    assert exponent(precisions, 100 * precisions**-1.7 + 50) == pytest.approx(1.7)
    norms = torch.tensor([4.0, 2.0, 3.0, 1.0])
    assert when(norms, torch.tensor([5.0, 2.0, 1.5, 0.5])).tolist() == [0, 1, 3, -1]


def test_where_each_method_rests():
    found = {(row["problem"], row["method"]): row for row in stalling.stalls()}
    assert len(found) == 10
    for row in found.values():
        assert row["gradient"] == pytest.approx(row["expected"], abs=1e-13)
        if row["expected"] > 1e-12:  # nor is it smaller on the way
            assert row["smallest"] == pytest.approx(row["expected"], rel=1e-6)
    for problem in ("Quadratics", "Cosines"):
        assert found[problem, "MAML"]["gradient"] < 1e-15
        assert found[problem, "FO-MAML"]["smallest"] > 5e-3
    quadratic = found["Quadratics", "FO-MAML"]
    assert quadratic["gradient"] == pytest.approx(quadratic["closed_form"], rel=1e-10)
    by_h = {row["h"]: row["gradient"] for row in found.values() if row["h"]}
    smallest, *shifts, published = sorted(by_h)
    assert (by_h[smallest] < 1e-12, shifts) == (True, [0.125, 0.25, 0.5])
    assert published == pytest.approx(10 / 6)
    for h in (0.125, 0.25):  # h² but for its own fourth power
        assert by_h[2 * h] / by_h[h] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("kind", [Quadratics, Cosines])
def test_resting_points_are_those_of_the_packages_own_updates(kind):
    family = stalling.two(kind)
    alpha, batch = stalling.step_size(family), full_batch(family)
    for case in stalling.cases(family, alpha):
        w = stalling.resting_point(family, alpha, case.share)
        at = torch.full((1,), w, dtype=torch.float64)
        found = update(family.objective(case.name, alpha, **case.settings), at, batch)
        assert float(found.abs()) < 1e-12, case.label
        away = at + 0.1
        expected = stalling.direction(family, alpha, float(away), case.share)
        found = update(family.objective(case.name, alpha, **case.settings), away, batch)
        assert float(found) == pytest.approx(expected, rel=1e-9), case.label


def test_first_order_maml_does_not_stall_where_curvatures_are_equal():
    family = Quadratics(torch.ones(2).double(), torch.tensor([[0.0], [1.2]]).double())
    start = torch.full((1,), -0.9, dtype=torch.float64)
    assert float(exactly(family, "fo-maml", 0.1, start, 400, 1.0).norms[-1]) < 1e-15
    assert stalling.first_order_floor(family, 0.1) == 0


def test_bounds_in_numbers():
    constants = Constants(2.0, 3.0, 0.5, 0.7, 0.2)
    assert bounds.largest_step_size(constants) == pytest.approx(1 / 12)
    assert bounds.largest_step_size(constants, "fo-maml") == pytest.approx(1 / 20)
    assert bounds.STEP_SHARES == {"maml": 1 / 12, "fo-maml": 1 / 18, "hf-maml": 1 / 25}
    at = bounds.first_order_bias(constants, 1 / 12, 4)
    assert at == pytest.approx(7 / 36 * 0.7 / 2)
    assert 2 * at**2 <= 0.08 * 0.7**2 / 4  # so that (7) follows
    assert bounds.second_order_bias(constants, 0.1, 7) == pytest.approx(1.2 * 1.5 * 0.01 * 0.07)
    assert bounds.first_moment(constants, 0.3, 7) == pytest.approx(0.18 + 0.08 * 0.07)
    expected = 40 * 0.09 + 14 * 0.25 + 0.49 * (2 / 5 + 1 / 42)
    assert bounds.second_moment(constants, 0.3, 7, 5) == pytest.approx(expected)
    assert bounds.smoothness_at(constants, 0.1, 5.0) == pytest.approx(8 + 3)
    gap = bounds.iterations(constants, 0.1, 2.0, 0.5)
    assert gap == pytest.approx(1600 * 2 * (2 + 0.3 * 1.0) / 0.25)


def test_batches_keep_what_the_theorem_asks_for():
    constants, alpha, precision = Constants(2.0, 3.0, 50.0, 7.0, 40.0), 1 / 12, 3.0
    sizes = bounds.batches(constants, alpha, precision)
    bent = 3 * alpha / 2
    noise = 50**2 / sizes.tasks + 49 / (sizes.tasks * sizes.outer) + 49 / sizes.inner
    assert bounds.noise(constants, sizes) == pytest.approx(noise)
    assert math.sqrt(61 * (1 + bent * 50) * noise) <= precision
    assert 61 * bent * noise <= precision
    expected = max(math.sqrt(61 * (1 + bent * 50) * noise), 61 * bent * noise)
    assert bounds.floor(constants, alpha, sizes) == pytest.approx(expected)
    assert sizes.hessian == math.ceil(2 * alpha**2 * 40**2) == 23
    assert sizes.step_tasks == math.ceil((3 * alpha * 50 / 2) ** 2 / 2) == 20
    assert sizes.step_samples == math.ceil((2 * 3 * alpha * 7 / 2) ** 2) == 4
    assert bounds.batches(Constants(1, 1, 1e-9, 1e-9, 0), 0.1, 1.0)[:4] == (20, 1, 1, 1)


def test_constants_seen_in_a_network():
    """Power iteration against all eigenvalues of two tasks' Hessians."""
    config = PRESETS["sinusoid"][1].changed(
        {"policy.activation": "tanh", "policy.hidden": (8,), "seed": 3}
    )
    experiment = build(config)
    seen = practice.estimated(experiment, 2, powers=200)
    loss, (w, unravel) = experiment.algorithm.inner_loss, tree.ravel(experiment.params)
    tasks = experiment.sample_tasks(2, practice.task_generator())
    data = practice.seen_data(experiment, tasks)

    def curvatures(its):
        return torch.linalg.eigvalsh(torch.func.hessian(lambda w: loss(unravel(w), its))(w))

    largest = float(torch.func.vmap(curvatures)(data).abs().max())
    assert seen.smoothness == pytest.approx(largest, rel=1e-3)

    def changes(its):
        def hessian(w):
            return torch.func.hessian(lambda w: loss(unravel(w), its))(w)

        along = torch.func.grad(lambda w: loss(unravel(w), its))(w)
        return torch.func.jvp(hessian, (w,), (along / along.norm(),))[1]

    slopes = torch.linalg.eigvalsh(torch.func.vmap(changes)(data)).abs().max()
    assert seen.hessian_lipschitz == pytest.approx(float(slopes), rel=1e-2)

    def slope(its, rows=slice(None)):
        some = tree.map(lambda leaf: leaf[rows], its)
        return torch.func.grad(lambda w: loss(unravel(w), some))(w)

    tasks = [tree.map(lambda leaf, i=i: leaf[i], data) for i in range(2)]
    whole = torch.stack([slope(its) for its in tasks])
    assert seen.between_tasks == pytest.approx(float((whole[0] - whole[1]).norm()) / 2, rel=1e-4)
    spreads = [
        sum(float((slope(its, [k]) - mean).square().sum()) for k in range(10)) / 10
        for its, mean in zip(tasks, whole, strict=True)
    ]
    assert seen.gradient_noise == pytest.approx(math.sqrt(max(spreads)), rel=1e-4)


def test_the_rule_trains_slowly_and_adam_does_not():
    found = practice.practice(60)
    ends = {name: (curve["loss"][0], curve["loss"][-1]) for name, curve in found["curves"].items()}
    assert len(ends) == 5
    assert all(end < start for start, end in ends.values())
    *rule, same_step, usual = (end for _, end in ends.values())
    assert max(same_step, usual) < min(rule)
    assert found["step_size"] == pytest.approx(1 / (6 * found["constants"]["smoothness"]))
    assert found["floor"] > 1  # with ten examples it promises nothing


def test_parts_are_written_and_kept(tmp_path):
    said = []
    theory(tmp_path, only=("practice",), practice_iterations=2, say=said.append)
    theory(tmp_path, only=("iterations",), steps=200, say=said.append)
    written = json.loads((tmp_path / "theory.json").read_text())
    assert set(written["seconds"]) == {"practice", "iterations"}
    assert len(written["practice"]["curves"]) == 5
    assert (tmp_path / "practice.png").stat().st_size > 10_000
    assert (tmp_path / "iterations.png").stat().st_size > 10_000
    assert any("HF-MAML, the rule" in line for line in said)


def test_the_command(tmp_path, capsys):
    main(["theory", "--only", "iterations", "--steps", "100", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "By samples, ε = 0.15" in printed
    assert f"Written: {tmp_path}/theory.json" in printed
    with pytest.raises(SystemExit) as refused:
        main(["theory", "--only", "nothing"])
    assert refused.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_bad_parts(tmp_path):
    with pytest.raises(ConfigError, match="no part 'all': use moments, iterations"):
        theory(tmp_path, only=("all",))
    with pytest.raises(ConfigError, match="--steps must be at least 100, got 5"):
        theory(tmp_path, steps=5)
