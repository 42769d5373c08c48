"""The rule of the analysis on a problem that people train: sinusoids, with constants from data.

The analysis asks for bounds that hold for every loss and everywhere. Of a network they can only be
estimated: here at the initial parameters, on as many examples as an inner step has. The network
has tanh units, since a ReLU's losses have no ρ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.build import Experiment
from rlmaml.config import TrainConfig
from rlmaml.losses import Loss
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.types import Examples, Meta, Params
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.studies.convergence import bounds
from runners.studies.convergence.problems import Constants
from runners.training.train import meta_batch

PROBLEM = "sinusoid"
METHODS = {"maml": "MAML", "fo-maml": "FO-MAML", "hf-maml": "HF-MAML"}
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""Learning rates of Adam; the one that is best on tasks of its own is shown."""
SAMPLE_TASKS = 100
"""Tasks that constants are estimated on."""
HELD_OUT = 200
"""Tasks that errors are means over."""
EVALUATIONS = 20
"""Along training, about."""


def task_generator() -> np.random.Generator:
    """Draws the tasks that constants are estimated on."""
    return generator(0, 0, Phase.VALIDATION_TASKS)


def support_sets(experiment: Experiment, tasks: np.ndarray) -> Examples:
    """A support set of each of N tasks, leaves [N, B, ...]."""
    key = (0, 0, Phase.VALIDATION_ROLLOUT)
    params = tree.repeat(experiment.params, len(tasks))
    data = experiment.sampler(params, tasks, key, "support")
    assert isinstance(data, Examples)
    return data


def estimated(experiment: Experiment, tasks: int, *, powers: int = 30) -> Constants:
    """Lower bounds of the constants, from the initial parameters alone.

    L is the largest |curvature| of a task's loss and ρ the largest rate at which a task's Hessian
    changes along its gradient, both by power iteration; σ is how tasks' gradients spread, and σ̃
    and σ_H the largest spread of single examples' gradients and Hessians within a task. Of
    Hessians the spread is that of their products with the task's own gradient direction.

    Args:
        experiment: on examples.
        tasks: N.
        powers: steps of the power iteration.
    """
    w, unravel = tree.ravel(experiment.params)
    losses = _TaskLosses(experiment.algorithm.inner_loss, w, unravel)
    data = support_sets(experiment, experiment.sample_tasks(tasks, task_generator()))

    def largest(product: Callable[[Tensor, Examples], Tensor]) -> float:
        def one(examples: Examples, v: Tensor) -> Tensor:
            for _ in range(powers):
                v = product(v, examples)
                v = v / v.norm()
            return product(v, examples).norm()

        first = torch.randn(tasks, len(w), generator=torch.Generator().manual_seed(0))
        return float(torch.func.vmap(one)(data, first).max())

    between = _spread(torch.func.vmap(losses.gradient, (None, 0))(w, data))
    gradient_spread, hessian_spread = torch.func.vmap(losses.spreads)(data)
    return Constants(
        largest(lambda v, examples: losses.product(w, v, examples)),
        largest(losses.change),
        float(between.sqrt()),
        float(gradient_spread.max().sqrt()),
        float(hessian_spread.max().sqrt()),
    )


@dataclass(frozen=True)
class _TaskLosses:
    """Derivatives of one task's loss around w, [P]."""

    loss: Loss
    w: Tensor
    unravel: Callable[[Tensor], Params]

    def gradient(self, w: Tensor, examples: Examples) -> Tensor:
        """∇f at w."""
        return torch.func.grad(lambda w: self.loss(self.unravel(w), examples))(w)

    def product(self, w: Tensor, v: Tensor, examples: Examples) -> Tensor:
        """∇²f v at w."""
        return torch.func.jvp(lambda w: self.gradient(w, examples), (w,), (v,))[1]

    def change(self, v: Tensor, examples: Examples) -> Tensor:
        """The rate at which ∇²f v changes along the gradient, by a central difference."""
        step, h = self.gradient(self.w, examples), 1e-2
        step = h * step / step.norm()
        ahead = self.product(self.w + step, v, examples)
        return (ahead - self.product(self.w - step, v, examples)) / (2 * h)

    def spreads(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Spreads [] of single examples' gradients, and of their Hessians along the gradient."""
        single = tree.map(lambda leaf: leaf.unsqueeze(1), examples)  # sets of one example
        along = self.gradient(self.w, examples)
        along = along / along.norm()
        gradients = torch.func.vmap(self.gradient, (None, 0))(self.w, single)
        products = torch.func.vmap(self.product, (None, None, 0))(self.w, along, single)
        return _spread(gradients), _spread(products)


def _spread(vectors: Tensor) -> Tensor:
    """Mean squared distance [] from the mean, of vectors [M, P]."""
    return (vectors - vectors.mean(0)).square().sum(1).mean()


@dataclass(frozen=True)
class Curve:
    """The error of one algorithm along training, on the same held-out tasks."""

    iterations: list[int]
    loss: list[float]
    """Mean squared error after the inner step."""


@dataclass(frozen=True)
class Practice:
    """The rule of the analysis beside Adam."""

    problem: str
    constants: Constants
    """Lower bounds, estimated."""
    step_size: float
    """α = 1/6L."""
    floor: float
    """The theorem's bound of ‖∇F‖ with the batches used."""
    curves: dict[str, Curve]
    learning_rates: dict[str, float]
    """Adam's learning rate, by curve."""


def practice(iterations: int, seed: int = 0, *, evaluations: int = EVALUATIONS) -> Practice:
    """Train every algorithm by the rule, and MAML by Adam with the same α and the preset's.

    Args:
        iterations: meta-iterations of each.
        seed: of the training.
        evaluations: along training, about.
    """
    config = PRESETS[PROBLEM][1].changed({"policy.activation": "tanh", "seed": seed})
    constants = estimated(build_experiment(config), SAMPLE_TASKS)
    curves: dict[str, Curve] = {}
    for name, label in METHODS.items():
        changes = {
            "inner.step_size": bounds.largest_step_size(constants, name),
            "inner.hessian": "support" if name == "fo-maml" else "separate",
            "optimizer": Optimizer("SGD"),
        }
        changed = with_algorithm(config, name).changed(changes)
        steps = (iterations, evaluations)
        curves[f"{label}, the rule"] = _by_the_rule(changed, constants, name, *steps)
    size = bounds.largest_step_size(constants)
    rates: dict[str, float] = {}
    for alpha in (size, config.inner.step_size):
        runs: dict[float, tuple[float, Curve]] = {}
        for rate in LEARNING_RATES:
            optimizer = Optimizer("Adam", learning_rate=rate)
            changed = config.changed({"inner.step_size": alpha, "optimizer": optimizer})
            runs[rate] = _by_optimizer(changed, iterations, evaluations)
        best = min(runs, key=lambda rate: runs[rate][0])
        label = f"MAML, Adam, α = {alpha:.2g}"
        rates[label], curves[label] = best, runs[best][1]
    shots, queries = config.examples.shots, config.examples.queries
    sizes = bounds.Batches(config.tasks, shots, queries, shots, config.tasks, shots)
    floor = bounds.floor(constants, size, sizes)
    return Practice(PROBLEM, constants, size, floor, curves, rates)


def _by_the_rule(
    config: TrainConfig, constants: Constants, name: str, iterations: int, evaluations: int
) -> Curve:
    """Train with β = share · β̃, β̃ from as many other tasks as the update has."""
    experiment = build_experiment(config)
    algorithm = experiment.algorithm
    objective = algorithm.objective(algorithm.init(experiment.params))
    inner_loss = algorithm.inner_loss
    other = dataclasses.replace(config, seed=config.seed + 1)

    def slope(meta: Meta, data: Examples) -> float:
        def norm(examples: Examples) -> Tensor:
            return tree.ravel(torch.func.grad(inner_loss)(meta["params"], examples))[0].norm()

        return float(torch.func.vmap(norm)(data).mean())

    def step(meta: Meta, k: int) -> Meta:
        batch = meta_batch(experiment, config, meta, k)
        others = meta_batch(experiment, other, meta, k).support[0]
        smoothness = bounds.smoothness_at(constants, config.inner.step_size, slope(meta, others))
        gradient = meta_gradient(objective, meta, batch)[1]
        theta, unravel = tree.ravel(meta)
        return unravel(theta - bounds.STEP_SHARES[name] / smoothness * gradient)

    meta = algorithm.init_meta(experiment.params)
    return _trained(config, meta, step, iterations, evaluations)[1]


def _by_optimizer(config: TrainConfig, iterations: int, evaluations: int) -> tuple[float, Curve]:
    """The final error on validation tasks, and the curve on the held-out ones."""
    experiment = build_experiment(config)
    state = experiment.algorithm.init(experiment.params)

    def step(meta: Meta, k: int) -> Meta:
        nonlocal state
        state, _ = experiment.algorithm.update(state, meta_batch(experiment, config, meta, k))
        return state.meta

    meta, curve = _trained(config, state.meta, step, iterations, evaluations)
    return _error(build_experiment(config, tasks=HELD_OUT), meta, split="validation"), curve


def _trained(
    config: TrainConfig,
    meta: Meta,
    step: Callable[[Meta, int], Meta],
    iterations: int,
    evaluations: int,
) -> tuple[Meta, Curve]:
    """The last meta-parameters, and the errors along training, the last one included."""
    evaluator = build_experiment(config, tasks=HELD_OUT)
    curve = Curve([], [])
    for k in range(iterations + 1):
        if k % max(1, iterations // evaluations) == 0 or k == iterations:
            curve.iterations.append(k)
            curve.loss.append(_error(evaluator, meta))
        if k < iterations:
            meta = step(meta, k)
    return meta, curve


def _error(evaluator: Experiment, meta: Meta, split: str = "test") -> float:
    """Mean squared error after the inner step, on tasks that the split draws."""
    algorithm, phase = evaluator.algorithm, Phase.EVALUATION_TASKS
    rng = generator(0, int(split == "test"), phase)
    tasks = evaluator.sample_tasks(HELD_OUT, rng, split=split)
    key = (0, int(split == "test"), Phase.EVALUATION_ROLLOUT)
    batch = collect(evaluator.sampler, algorithm.inner, meta, tasks, steps=1, key=key)
    return evaluator.metric.line(meta, batch)["mse/post"]


def table(study: Practice) -> str:
    """The study as text."""
    letters = zip(("L", "ρ", "σ", "σ̃", "σ_H"), vars(study.constants).values(), strict=True)
    constants = ", ".join(f"{letter} {value:.3g}" for letter, value in letters)
    lines = [
        f"The rule on {study.problem}, α = 1/6L = {study.step_size:.2g}; seen in data: "
        f"{constants}. With its batches the theorem promises ‖∇F‖ ≤ {study.floor:.3g}.",
        "after training               mean squared error after one step",
    ]
    for name, curve in study.curves.items():
        rate = study.learning_rates.get(name)
        suffix = f"   (rate {rate:g})" if rate else ""
        lines.append(f"{name:<29}{curve.loss[-1]:8.3f}{suffix}")
    return "\n".join(lines)
