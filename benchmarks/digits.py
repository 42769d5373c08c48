"""Accuracy on digit classes never seen: meta-trained, nearest neighbor, and from scratch.

    python -m benchmarks.digits RUN... [--tasks 600] [--out FILE]

RUN are run folders of `rlmaml train digits`, of any class split and number of shots. All methods
get the same test tasks, support images and query images:

- meta-trained: the run's best checkpoint by validation, before and after 1, 5 and 10 inner steps;
- nearest neighbor: the class of the nearest support image, by Euclidean distance of the pixels;
- nearest mean: the class of the nearest mean of support images;
- from scratch: the same network from fresh weights, 100 steps of Adam on the support images alone,
  with the learning rate that is best on 50 validation tasks.

A query is judged with the batch norm that the run was trained with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.func import grad

from rlmaml import models, tree
from rlmaml.build import Experiment
from rlmaml.config import TrainConfig
from rlmaml.losses import cross_entropy
from rlmaml.objective import over_tasks
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.types import Examples, InputsWithStatistics, MetaBatch, Params
from runners.environments import build_experiment
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.evaluation.summaries import Summary
from runners.io import versions, write_json
from runners.run_dir import RunDir

STEPS = 100
RATES = (1e-3, 3e-3, 1e-2)


def nearest(batch: MetaBatch) -> dict[str, np.ndarray]:
    """Accuracy per task [N] of the nearest support image, and of the nearest class mean."""
    support: Examples = batch.support[0]
    inputs = batch.query.inputs
    queries = inputs.inputs if isinstance(inputs, InputsWithStatistics) else inputs
    x, q = support.inputs.flatten(2), queries.flatten(2)  # [N, B, pixels]
    labels = support.targets
    image = labels.gather(1, torch.cdist(q, x).argmin(-1))
    way = int(labels.max()) + 1
    means = torch.stack(
        [x[labels == c].view(len(x), -1, x.shape[-1]).mean(1) for c in range(way)], 1
    )
    mean = torch.cdist(q, means).argmin(-1)
    right = {"nearest neighbor": image, "nearest mean": mean}
    targets = batch.query.targets
    return {
        name: (predicted == targets).float().mean(1).numpy() for name, predicted in right.items()
    }


def from_scratch(
    config: TrainConfig, experiment: Experiment, batch: MetaBatch, rate: float, seed: int
) -> np.ndarray:
    """Accuracy per task [N] of fresh weights trained on the support set by Adam."""
    policy = experiment.algorithm.policy
    slope = grad(cross_entropy(policy))

    def train(params: Params, data: MetaBatch) -> torch.Tensor:
        first = second = tree.map(torch.zeros_like, params)
        for t in range(1, STEPS + 1):
            gradient: Any = slope(params, data.support[0])
            first = tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
            second = tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
            params = tree.map(
                lambda p, m, v, t=t: (
                    p - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
                ),
                params,
                first,
                second,
            )
        predicted: Any = policy(params, data.query.inputs)
        return (predicted.logits.argmax(-1) == data.query.targets).float().mean()

    params = fresh(config, experiment, len(batch.query.targets), seed)
    with torch.no_grad():
        return over_tasks(train, 50)(params, batch).numpy()


def fresh(config: TrainConfig, experiment: Experiment, count: int, seed: int) -> Params:
    """Initial weights of `count` new networks, stacked."""
    family: Any = experiment.sampler.family
    drawn = []
    for task in range(count):
        torch.manual_seed(seed * 10_000 + task)
        model = models.ConvClassifier(family.inputs.shape, int(family.outputs.n), config.conv)
        drawn.append(models.parameters(model))
    return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}


def study(run: Path, tasks: int) -> dict[str, Any]:
    folder = RunDir(run)
    result = evaluate_run(folder, EvalConfig(tasks=tasks, steps=10, checkpoint=Path("best")))
    config = folder.read_config()
    experiment = build_experiment(config)

    def draw(split: str, count: int) -> MetaBatch:
        chosen = experiment.sample_tasks(
            count, generator(0, 0, Phase.EVALUATION_TASKS), split=split
        )
        return collect(
            experiment.sampler,
            experiment.algorithm.inner,
            {"params": experiment.params},
            chosen,
            steps=1,
            key=(0, 0, Phase.EVALUATION_ROLLOUT),  # the draws that `evaluate` makes
        )

    test, validation = draw("test", tasks), draw("validation", 50)
    on_validation = {
        rate: float(from_scratch(config, experiment, validation, rate, 1).mean()) for rate in RATES
    }
    rate = max(on_validation, key=lambda r: on_validation[r])
    scores = {**nearest(test), "from scratch": from_scratch(config, experiment, test, rate, 2)}
    return {
        "run": run.name,
        "env": config.env.kwargs,
        "shots": config.examples.shots,
        "inner_steps_in_training": config.inner.steps,
        "note": result.note,
        "iteration": result.iteration,
        "meta-trained": {
            str(k): [result.mean[k].item(), result.ci95[k].item()]
            for k in (0, 1, config.inner.steps, 10)
        },
        **{
            name: [summary.mean.item(), summary.ci95.item()]
            for name, score in scores.items()
            for summary in [Summary.of(score[:, None])]
        },
        "from scratch, rate": rate,
        "from scratch, on validation tasks": on_validation,
        "tasks": tasks,
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = [study(run, options.tasks) for run in options.runs]
    print(json.dumps(results, indent=1))
    if options.out is not None:
        write_json(options.out, results)


if __name__ == "__main__":
    main()
