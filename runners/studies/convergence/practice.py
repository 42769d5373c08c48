"""The rule of the analysis on a problem that people train: sinusoids, with constants from data.

The analysis asks for bounds that hold for every loss and everywhere. Of a network they can only be
looked for: here at the initial parameters, on as many examples as an inner step has. The network
has tanh units, since a ReLU's losses have no ρ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.types import Examples, Meta
from runners.build import Experiment, build
from runners.config import TrainConfig
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.studies.convergence import bounds
from runners.studies.convergence.problems import Constants
from runners.training.train import meta_batch

PROBLEM = "sinusoid"
METHODS = {"maml": "MAML", "fo-maml": "FO-MAML", "hf-maml": "HF-MAML"}
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""Of Adam; the one that is best on tasks of its own is shown."""
LOOKED_AT = 100
"""Tasks that constants are estimated on."""
HELD_OUT = 200


def task_generator() -> np.random.Generator:
    """Draws the tasks that constants are estimated on."""
    return generator(0, 0, Phase.VALIDATION_TASKS)


def seen_data(experiment: Experiment, tasks: np.ndarray) -> Examples:
    """A support set of each of N tasks."""
    key = (0, 0, Phase.VALIDATION_ROLLOUT)
    params = tree.repeat(experiment.params, len(tasks))
    data: Any = experiment.sampler(params, tasks, key, "support")
    return data


def estimated(experiment: Experiment, tasks: int = LOOKED_AT, *, powers: int = 30) -> Constants:
    """What the constants are at least, from the initial parameters alone.

    L is the largest |curvature| of a task's loss and ρ the largest rate at which a task's Hessian
    changes along its gradient, both by power iteration; σ is how tasks' gradients spread, and σ̃
    and σ_H the largest spread of single examples' gradients and Hessians within a task. Of
    Hessians the spread is that of their products with the task's own gradient direction.
    """
    loss = experiment.algorithm.inner_loss
    w, unravel = tree.ravel(experiment.params)
    data = seen_data(experiment, experiment.sample_tasks(tasks, task_generator()))

    def gradient(w: Tensor, its: Examples) -> Tensor:
        return torch.func.grad(lambda w: loss(unravel(w), its))(w)

    def product(w: Tensor, v: Tensor, its: Examples) -> Tensor:
        return torch.func.jvp(lambda w: gradient(w, its), (w,), (v,))[1]

    def largest(of: Callable[[Tensor, Examples], Tensor]) -> float:
        def one(its: Examples, v: Tensor) -> Tensor:
            for _ in range(powers):
                v = of(v, its)
                v = v / v.norm()
            return of(v, its).norm()

        first = torch.randn(tasks, len(w), generator=torch.Generator().manual_seed(0))
        return float(torch.func.vmap(one)(data, first).max())

    def change(v: Tensor, its: Examples) -> Tensor:
        away, h = gradient(w, its), 1e-2
        away = h * away / away.norm()
        return (product(w + away, v, its) - product(w - away, v, its)) / (2 * h)

    def spreads(its: Examples) -> tuple[Tensor, Tensor]:
        single = tree.map(lambda leaf: leaf.unsqueeze(1), its)  # sets of one example
        along = gradient(w, its)
        along = along / along.norm()
        slopes = torch.func.vmap(gradient, (None, 0))(w, single)
        bends = torch.func.vmap(product, (None, None, 0))(w, along, single)
        return _spread(slopes), _spread(bends)

    between = _spread(torch.func.vmap(gradient, (None, 0))(w, data))
    slope, bend = torch.func.vmap(spreads)(data)
    return Constants(
        largest(lambda v, its: product(w, v, its)),
        largest(change),
        float(between.sqrt()),
        float(slope.max().sqrt()),
        float(bend.max().sqrt()),
    )


def _spread(vectors: Tensor) -> Tensor:
    """Mean squared distance [] from the mean, of vectors [M, P]."""
    return (vectors - vectors.mean(0)).square().sum(1).mean()


class Curve(NamedTuple):
    """Training of one method, looked at on the same held-out tasks."""

    iterations: list[int]
    loss: list[float]  # mean squared error after the inner step


def practice(iterations: int, seed: int = 0) -> dict[str, Any]:
    """Every method with the rule of the analysis, beside Adam with the same α and the preset's."""
    config = PRESETS[PROBLEM][1].changed({"policy.activation": "tanh", "seed": seed})
    seen = estimated(build(config))
    curves: dict[str, Curve] = {}
    for name, label in METHODS.items():
        separate = "support" if name == "fo-maml" else "separate"
        its = with_algorithm(config, name).changed(
            {
                "inner.step_size": bounds.largest_step_size(seen, name),
                "inner.hessian": separate,
                "optimizer": Optimizer("SGD"),
            }
        )
        curves[f"{label}, the rule"] = _by_the_rule(its, seen, name, iterations)
    size = bounds.largest_step_size(seen)
    rates: dict[str, float] = {}
    for alpha in (size, config.inner.step_size):
        runs: dict[float, tuple[float, Curve]] = {}
        for rate in LEARNING_RATES:
            optimizer = Optimizer("Adam", learning_rate=rate)
            its = config.changed({"inner.step_size": alpha, "optimizer": optimizer})
            runs[rate] = _by_optimizer(its, iterations)
        best = min(runs, key=lambda rate: runs[rate][0])
        label = f"MAML, Adam, α = {alpha:.2g}"
        rates[label], curves[label] = best, runs[best][1]
    shots, queries = config.examples.shots, config.examples.queries
    sizes = bounds.Batches(config.tasks, shots, queries, shots, config.tasks, shots)
    return {
        "problem": PROBLEM,
        "constants": seen._asdict(),
        "step_size": size,
        "floor": bounds.floor(seen, size, sizes),
        "curves": {name: curve._asdict() for name, curve in curves.items()},
        "learning_rates": rates,
    }


def _by_the_rule(config: TrainConfig, seen: Constants, name: str, iterations: int) -> Curve:
    """β = share · β̃, β̃ from as many other tasks as the update has."""
    experiment = build(config)
    algorithm = experiment.algorithm
    objective = algorithm.objective(algorithm.init(experiment.params))
    inner_loss = algorithm.inner_loss
    other = dataclasses.replace(config, seed=config.seed + 1)

    def slope(meta: Meta, data: Examples) -> float:
        def norm(its: Examples) -> Tensor:
            return tree.ravel(torch.func.grad(inner_loss)(meta["params"], its))[0].norm()

        return float(torch.func.vmap(norm)(data).mean())

    def step(meta: Meta, k: int) -> Meta:
        batch = meta_batch(experiment, config, meta, k)
        beside = meta_batch(experiment, other, meta, k).support[0]
        smoothness = bounds.smoothness_at(seen, config.inner.step_size, slope(meta, beside))
        gradient = meta_gradient(objective, meta, batch)[1]
        theta, unravel = tree.ravel(meta)
        return unravel(theta - bounds.STEP_SHARES[name] / smoothness * gradient)

    return _watched(config, algorithm.init_meta(experiment.params), step, iterations)


def _by_optimizer(config: TrainConfig, iterations: int) -> tuple[float, Curve]:
    """Its final error on tasks of its own, and its curve on the held-out ones."""
    experiment = build(config)
    state = experiment.algorithm.init(experiment.params)

    def step(meta: Meta, k: int) -> Meta:
        nonlocal state
        state, _ = experiment.algorithm.update(state, meta_batch(experiment, config, meta, k))
        return state.meta

    curve = _watched(config, state.meta, step, iterations)
    return _error(config, state.meta, split="validation"), curve


def _watched(
    config: TrainConfig, meta: Meta, step: Callable[[Meta, int], Meta], iterations: int
) -> Curve:
    """Errors on held-out tasks, at about 20 iterations and the last."""
    curve = Curve([], [])
    for k in range(iterations + 1):
        if k % max(1, iterations // 20) == 0 or k == iterations:
            curve.iterations.append(k)
            curve.loss.append(_error(config, meta))
        if k < iterations:
            meta = step(meta, k)
    return curve


def _error(config: TrainConfig, meta: Meta, split: str = "test") -> float:
    """Mean squared error after the inner step, on tasks that the split draws."""
    experiment = build(config, tasks=HELD_OUT)
    algorithm, phase = experiment.algorithm, Phase.EVALUATION_TASKS
    tasks = experiment.sample_tasks(
        HELD_OUT, generator(0, int(split == "test"), phase), split=split
    )
    key = (0, int(split == "test"), Phase.EVALUATION_ROLLOUT)
    batch = collect(experiment.sampler, algorithm.inner, meta, tasks, steps=1, key=key)
    return experiment.measure.line(meta, batch)["mse/post"]
