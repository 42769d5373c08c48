"""Meta-iterations/s in supervised learning: ours, a loop over tasks, and torch.func by hand.

    python -m benchmarks.few_shot [--repeats 7]

Three programs for the same update (draw a meta-batch, one second-order inner step per task, Adam on
the meta-gradient), in one process, taking turns:

- ours: `collect` and `MAML.update`;
- loop: tasks one after the other, `torch.autograd.grad(create_graph=True)`;
- by hand: `torch.func.vmap` and `grad` over stacked tasks, nothing of ours but the random data.

Medians over repeats, and ratios. The updates are compared in float64: by
hand, conv-4 is slightly off, since torch's batch norm is under vmap (docs/gotchas.md).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import envs  # noqa: F401  registers the environments
from envs.few_shot.images import FewShotTasks
from rlmaml import (
    MAML,
    ConvClassifier,
    ExampleSampler,
    InnerConfig,
    Optimizer,
    RegressionMLP,
    losses,
    models,
)
from rlmaml.models.mlp import PolicyConfig
from rlmaml.rng import generator
from rlmaml.sampling.collect import collect

Program = Callable[[int, str], dict[str, torch.Tensor]]
"""Runs that many meta-iterations with an optimizer of that name and returns the parameters."""


SIZES = {"sinusoid": (0.01, 200, 1), "conv-4": (0.4, 3, 2)}
"""Inner step size, iterations to time, threads (two only slow matrices of 40 x 40 down)."""


class Double:
    """A family in float64."""

    def __init__(self, family: Any) -> None:
        self.sample, self._family = family.sample, family

    def episode(self, *args: Any) -> Any:
        pairs = self._family.episode(*args)
        return [
            [array.astype(np.float64) if array.dtype == np.float32 else array for array in pair]
            for pair in pairs
        ]


class Problem:
    """A family with a size, a model and a loss of its raw outputs."""

    def __init__(self, name: str, *, double: bool = False) -> None:
        self.name, self.rate = name, 1e-3
        self.alpha, self.iterations, self.threads = SIZES[name]
        torch.manual_seed(0)
        if name == "sinusoid":
            self.family: Any = gymnasium.make("rlmaml/Sinusoid-v0").unwrapped.examples
            self.tasks, self.shots, self.queries = 25, 10, 10
            self.ours: nn.Module = RegressionMLP(1, 1, PolicyConfig(hidden=(40, 40)))
            self.plain = mlp()
            self.loss, self.raw_loss = losses.mse, nn.functional.mse_loss
        else:
            self.family = noise_images()
            self.tasks, self.shots, self.queries = 32, 1, 1
            self.ours = ConvClassifier((1, 28, 28), 5)
            self.plain = conv4()
            self.loss, self.raw_loss = losses.cross_entropy, nn.functional.cross_entropy
        if double:
            self.family = Double(self.family)
            self.ours, self.plain = self.ours.double(), self.plain.double()
        start = [value.detach().clone() for value in self.ours.parameters()]
        for parameter, value in zip(self.plain.parameters(), start, strict=True):
            parameter.data.copy_(value)
        self.start = start

    def draw(self, i: int) -> list[torch.Tensor]:
        """Support inputs and targets, query inputs and targets, [N, B, ...]."""
        tasks = self.family.sample(self.tasks, generator(0, i, 1))
        pairs = self.family.episode(tasks, self.shots, self.queries, generator(0, i, 2))
        return [torch.from_numpy(array) for pair in pairs for array in pair]


def mlp() -> nn.Module:
    layers = [nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1)]
    return nn.Sequential(*layers)


def conv4() -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        layers += [nn.Conv2d(channels, 64, 3, padding=1)]
        layers += [nn.BatchNorm2d(64, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 5))


def noise_images() -> FewShotTasks:
    rng = np.random.default_rng(0)
    classes = [rng.random((20, 1, 28, 28), dtype=np.float32) for _ in range(100)]
    return FewShotTasks(classes, {"train": tuple(range(100))}, way=5)


def ours(problem: Problem) -> Program:
    policy = models.functional(problem.ours)
    sampler = ExampleSampler(
        problem.family,
        shots=problem.shots,
        queries=problem.queries,
        dtype=problem.start[0].dtype,
    )
    names = [name for name, _ in problem.ours.named_parameters()]

    def program(iterations: int, optimizer_name: str) -> dict[str, torch.Tensor]:
        algorithm = MAML(
            policy,
            InnerConfig(step_size=problem.alpha),
            Optimizer(optimizer_name, problem.rate),
            inner_loss=problem.loss,
            outer_loss=problem.loss,
        )
        state = algorithm.init(dict(zip(names, [v.clone() for v in problem.start], strict=True)))
        for i in range(iterations):
            tasks = problem.family.sample(problem.tasks, generator(0, i, 1))
            batch = collect(sampler, algorithm.inner, state.meta, tasks, steps=1, key=(0, i, 2))
            state, _ = algorithm.update(state, batch)
        return state.meta["params"]

    return program


def by_hand(problem: Problem) -> Program:
    model, alpha = problem.plain, problem.alpha

    def loss(params, x, y):
        return problem.raw_loss(functional_call(model, params, (x,)), y)

    def task(params, x, y, query_x, query_y):
        slopes = grad(loss)(params, x, y)
        adapted = {key: value - alpha * slopes[key] for key, value in params.items()}
        return loss(adapted, query_x, query_y)

    stacked = vmap(task, (None, 0, 0, 0, 0))
    names = [name for name, _ in model.named_parameters()]

    def program(iterations: int, optimizer_name: str) -> dict[str, torch.Tensor]:
        values = [v.clone().requires_grad_() for v in problem.start]
        params = dict(zip(names, values, strict=True))
        optimizer = getattr(torch.optim, optimizer_name)(values, problem.rate)
        for i in range(iterations):
            mean = stacked(params, *problem.draw(i)).mean()
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
            mean.item()  # everyone logs the loss
        return params

    return program


def loop(problem: Problem) -> Program:
    model, alpha = problem.plain, problem.alpha
    names = [name for name, _ in model.named_parameters()]

    def program(iterations: int, optimizer_name: str) -> dict[str, torch.Tensor]:
        values = [v.clone().requires_grad_() for v in problem.start]
        params = dict(zip(names, values, strict=True))
        optimizer = getattr(torch.optim, optimizer_name)(values, problem.rate)
        for i in range(iterations):
            total = torch.zeros((), dtype=values[0].dtype)
            for x, y, query_x, query_y in zip(*problem.draw(i), strict=True):
                support = problem.raw_loss(functional_call(model, params, (x,)), y)
                slopes = torch.autograd.grad(support, values, create_graph=True)
                adapted = {
                    key: value - alpha * slope
                    for (key, value), slope in zip(params.items(), slopes, strict=True)
                }
                total = total + problem.raw_loss(
                    functional_call(model, adapted, (query_x,)), query_y
                )
            optimizer.zero_grad()
            (total / problem.tasks).backward()
            optimizer.step()
            total.item()
        return params

    return program


def programs_for(problem: Problem) -> dict[str, Program]:
    return {"ours": ours(problem), "by hand": by_hand(problem), "loop": loop(problem)}


def largest_difference(name: str) -> dict[str, float]:
    """Measure how far apart the programs' parameters are after two iterations in float64, and how
    far they have come. By SGD, since Adam makes a full step also of a gradient that is 0 but
    for rounding, as that of a bias before batch norm is."""
    problem = Problem(name, double=True)
    ends = {
        key: torch.cat([value.detach().reshape(-1) for value in program(2, "SGD").values()])
        for key, program in programs_for(problem).items()
    }
    start = torch.cat([value.reshape(-1) for value in problem.start])
    largest = {"change": (ends["ours"] - start).abs().max().item()}
    for other in ("by hand", "loop"):
        largest[f"ours to {other}"] = (ends["ours"] - ends[other]).abs().max().item()
    return largest


def measure(name: str, repeats: int) -> dict[str, Any]:
    problem = Problem(name)
    torch.set_num_threads(problem.threads)
    programs = programs_for(problem)
    seconds: dict[str, list[float]] = {key: [] for key in programs}
    for repeat in range(repeats + 1):
        for key, program in programs.items():
            iterations = max(1, problem.iterations // (10 if key == "loop" else 1))
            clock = time.perf_counter()
            program(iterations, "Adam")
            if repeat:  # the first warms up
                seconds[key].append((time.perf_counter() - clock) / iterations)
    rates = {key: 1 / statistics.median(values) for key, values in seconds.items()}
    return {
        "problem": name,
        "threads": problem.threads,
        "iterations_per_second": rates,
        "ours_over_loop": rates["ours"] / rates["loop"],
        "ours_over_by_hand": rates["ours"] / rates["by hand"],
        "float64_check": largest_difference(name),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=list(SIZES))
    options = parser.parse_args()
    for name in SIZES:
        if options.only in (None, name):
            print(json.dumps(measure(name, options.repeats), indent=1))


if __name__ == "__main__":
    main()
