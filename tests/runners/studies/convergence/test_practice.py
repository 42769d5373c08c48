"""The rule on a network, and the constants it needs."""

import math

import pytest
import torch

from rlmaml import tree
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.studies.convergence import practice

pytestmark = pytest.mark.slow


def test_constants_seen_in_a_network():
    """Power iteration against all eigenvalues of two tasks' Hessians."""
    config = PRESETS["sinusoid"][1].changed(
        {"policy.activation": "tanh", "policy.hidden": (8,), "seed": 3}
    )
    experiment = build_experiment(config)
    estimate = practice.estimated(experiment, 2, powers=200)
    loss, (w, unravel) = experiment.algorithm.inner_loss, tree.ravel(experiment.params)
    tasks = experiment.sample_tasks(2, practice.task_generator())
    data = practice.support_sets(experiment, tasks)

    def curvatures(examples):
        return torch.linalg.eigvalsh(torch.func.hessian(lambda w: loss(unravel(w), examples))(w))

    largest = float(torch.func.vmap(curvatures)(data).abs().max())
    assert estimate.smoothness == pytest.approx(largest, rel=1e-3)

    def changes(examples):
        def hessian(w):
            return torch.func.hessian(lambda w: loss(unravel(w), examples))(w)

        along = torch.func.grad(lambda w: loss(unravel(w), examples))(w)
        return torch.func.jvp(hessian, (w,), (along / along.norm(),))[1]

    slopes = torch.linalg.eigvalsh(torch.func.vmap(changes)(data)).abs().max()
    assert estimate.hessian_lipschitz == pytest.approx(float(slopes), rel=1e-2)

    def slope(examples, rows=slice(None)):
        some = tree.map(lambda leaf: leaf[rows], examples)
        return torch.func.grad(lambda w: loss(unravel(w), some))(w)

    tasks = [tree.map(lambda leaf, i=i: leaf[i], data) for i in range(2)]
    means = torch.stack([slope(task) for task in tasks])
    assert estimate.between_tasks == pytest.approx(
        float((means[0] - means[1]).norm()) / 2, rel=1e-4
    )
    spreads = [
        sum(float((slope(task, [k]) - mean).square().sum()) for k in range(10)) / 10
        for task, mean in zip(tasks, means, strict=True)
    ]
    assert estimate.gradient_noise == pytest.approx(math.sqrt(max(spreads)), rel=1e-4)


def test_the_rule_trains_slowly_and_adam_does_not():
    study = practice.practice(40, evaluations=1)
    ends = {name: (curve.loss[0], curve.loss[-1]) for name, curve in study.curves.items()}
    assert all(curve.iterations == [0, 40] for curve in study.curves.values())
    assert len(ends) == 5
    assert all(end < start for start, end in ends.values())
    *rule, same_step, preset = (end for _, end in ends.values())
    assert max(same_step, preset) < min(rule)
    assert study.step_size == pytest.approx(1 / (6 * study.constants.smoothness))
    assert study.floor > 1  # with ten examples it promises nothing
