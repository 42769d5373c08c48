"""Sentences of a report: what was trained, what came of it, and what its figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rlmaml.config import TrainConfig
from runners.evaluation.results import ComparedMethod, Evaluation
from runners.formatting import BASELINES, METRICS, NOUNS, amount, digits, duration, listed, number
from runners.formatting import steps as steps_taken
from runners.training.plots import Metrics

Floats = NDArray[np.float64]


def mean_noun(metric: str) -> str:
    """A metric's mean over tasks, in a sentence."""
    return NOUNS[metric] if metric == "mse" else f"mean {NOUNS[metric]}"


def trained(config: TrainConfig, metrics: Sequence[Metrics], seeds: Sequence[int]) -> str:
    """Describe how runs of one method were trained: size, cost and seeds.

    Args:
        config: of the first run.
        metrics: of every run.
        seeds: of every run.
    """
    if config.data == "examples":
        unit = "labeled examples"
        data = f"{config.examples.shots} + {config.examples.queries} examples"
        if "accuracy" in " ".join(metrics[0][-1] if metrics[0] else ()):
            data += " per class"
        per_task = f"with {data} each"
    else:
        unit = "environment steps"
        per_task = f"with {config.episodes} episodes of {config.horizon} steps each"
        if config.batch_by == "steps":
            steps = config.episodes * config.horizon
            per_task = f"with episodes of {steps:,} steps in all each"
        if config.inner.steps:
            per_task += ", before and again after every inner step"
    last = [run[-1] for run in metrics if run]
    done = max((int(line["iteration"]) + 1 for line in last), default=0)
    sentence = f"{done:,} meta-iterations of {config.tasks} tasks, {per_task}"
    if last:
        each = " each" * (len(last) > 1)
        cost, time = (
            float(np.mean([line[name] for line in last])) for name in ("env_steps", "seconds")
        )
        sentence += f"; {amount(cost)} {unit} in {duration(time)}{each}"
    return f"{sentence}; {'seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}."


def achieved(config: TrainConfig, result: Evaluation, decimals: int) -> str:
    """Describe what adaptation does to the metric."""
    if result.episodes:
        data = f"{result.episodes} episodes of a task"
        if not result.groups:  # of a few kinds, all have been seen
            data += " it has never seen"
    else:
        data = f"{result.shots} examples of a task it has never seen"
        if result.metric == "accuracy":
            data = f"{result.shots} examples per class it has never seen"
    k = min(config.inner.steps, result.steps[-1])
    before, after = (number(result.mean[i], decimals) for i in (0, k))
    noun = mean_noun(result.metric)
    if k == 0:
        return f"Without adaptation the {noun} is {before}."
    return (
        f"{_counted(k)} gradient step{'s' * (k > 1)} on {data} {'take' if k > 1 else 'takes'} the "
        f"{noun} from {before} to {after}."
    )


def beside(methods: Mapping[str, ComparedMethod], k: int, decimals: int) -> str:
    """Describe how the baselines of a comparison do after k steps; empty without any."""
    phrases: list[str] = []
    for name, what in BASELINES.items():
        if name in methods:
            mean = methods[name].mean
            value = number(mean[min(k, len(mean) - 1)], decimals)
            phrases.append(f"{what} ({name}) {'to' if phrases else 'comes to'} {value}")
    return f"With the same step{'s' * (k != 1)}, {listed(phrases)}." if phrases else ""


def held_out(result: Evaluation) -> str:
    """Describe what the scores are of."""
    tasks = f"{len(result.tasks)} tasks"
    if result.groups:
        tasks += f" of the {len(result.groups)} kinds that there are, seen in training"
    else:
        tasks += " never seen in training"
    if result.episodes:
        return f"{tasks}, {result.episodes} fresh episodes per task and step"
    each = " per class" if result.metric == "accuracy" else ""
    return (
        f"{tasks}, each learned from {result.shots} examples{each} and scored on "
        f"{result.queries} others"
    )


def adaptation_alt(
    metric: str, methods: Mapping[str, Floats], shown: Sequence[int], decimals: int
) -> str:
    """Describe what a figure of means over inner steps shows.

    Args:
        metric: of the means.
        methods: mean after each step of `shown`, or the one mean of what does not adapt.
        shown: numbers of steps.
        decimals: of the means.
    """
    means = [
        f"{name} {', '.join(number(value, decimals) for value in values)}"
        for name, values in methods.items()
    ]
    what = f"{METRICS[metric].capitalize()} after {listed(shown)} inner gradient steps"
    return f"{what}: {'; '.join(means)}."


def learning_alt(metric: str, metrics: Metrics, config: TrainConfig) -> str:
    """Describe what a learning curve shows: where it begins and ends, as means of a few lines."""
    few = max(1, len(metrics) // 50)

    def ends(when: str) -> tuple[float, float]:
        values = np.array([line[f"{metric}/{when}"] for line in metrics], float)
        return float(values[:few].mean()), float(values[-few:].mean())

    curves = [ends("post"), ends("pre")]
    decimals = digits(metric, (value for pair in curves for value in pair))
    (first, last), before = curves
    moved = "rises" if last > first else "falls" if last < first else "stays"
    unit = "labeled examples" if config.data == "examples" else "environment steps"
    return (
        f"{NOUNS[metric].capitalize()} after adaptation {moved} from {number(first, decimals)} to "
        f"{number(last, decimals)} over {amount(metrics[-1]['env_steps'])} {unit}; before "
        f"adaptation it goes from {number(before[0], decimals)} to {number(before[1], decimals)}."
    )


def tasks_alt(result: Evaluation, decimals: int) -> str:
    """Describe what a figure of every task's return shows."""
    returns = result.scores["return"]

    def ends(k: int) -> str:
        low, high = (number(end(returns[:, k]), decimals) for end in (np.min, np.max))
        return f"from {low} to {high}"

    last = returns.shape[1] - 1
    phrases = [f"before adaptation {ends(0)}"]
    phrases += [f"after {steps_taken(k)} {ends(k)}" for k in sorted({min(1, last), last} - {0})]
    return f"Return of each of {len(returns)} tasks: {', '.join(phrases)}."


def fits_alt(result: Evaluation) -> str:
    """Describe what a figure of fitted curves shows."""
    drawn = len(result.fits)
    errors = result.scores["mse"][:drawn].mean(0)
    last = len(errors) - 1
    phrases = [f"{number(errors[0], 3)} before adaptation"]
    phrases += [
        f"{number(errors[k], 3)} after {steps_taken(k)}" for k in sorted({min(1, last), last} - {0})
    ]
    return (
        f"Examples of {drawn} tasks never seen and the curves fitted to them: mean squared error "
        f"{', '.join(phrases)}."
    )


def _counted(count: int) -> str:
    names = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return names[count] if count < len(names) else str(count)
