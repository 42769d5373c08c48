"""A run's figures in words: for tables, the sentences of a report, and what pictures show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from runners.config import TrainConfig

METRICS = {
    "return": "return per episode",
    "mse": "mean squared error",
    "accuracy": "share of query examples right",
}
"""What a run may be measured by, in words."""

NOUNS = {"return": "return", "mse": "mean squared error", "accuracy": "accuracy"}
"""What a run may be measured by, in a sentence."""

MEANS = {name: noun if name == "mse" else f"mean {noun}" for name, noun in NOUNS.items()}

BASELINES = {
    "random": "the same network untrained",
    "pretrained": "one model trained for all tasks at once",
    "oracle": "one model that is shown the task and does not adapt",
}
"""What the methods of `runners.baselines` are, in a sentence."""


def digits(metric: str, values: Iterable[float]) -> int:
    """Decimals to show: returns of a robot are large numbers, errors and shares small ones."""
    return 1 if metric == "return" and any(abs(value) >= 10 for value in values) else 3


def number(value: float, decimals: int) -> str:
    """With a minus sign, not a hyphen; a score that is not finite is of a task that diverged."""
    if not np.isfinite(value):
        return "diverged"
    return f"{value:.{decimals}f}".replace("-", "−")


def kind(name: str) -> str:
    """A kind of task; evaluations of earlier versions have its number alone."""
    return f"task {name}" if name.isdigit() else name


def steps(count: int) -> str:
    return f"{count} step" + "s" * (count != 1)


def listed(words: Iterable[object]) -> str:
    """a, b and c."""
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last


def amount(count: float) -> str:
    """A number of steps or examples: 28.8 million, 192."""
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count:,.0f}"


def duration(seconds: float) -> str:
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} second" + "s" * (round(seconds) != 1)


def trained(config: TrainConfig, metrics: Sequence[Sequence[dict[str, Any]]], seeds: Any) -> str:
    """How runs of one method were trained: size, cost and seeds, in a sentence.

    Args:
        metrics: of every run.
        seeds: of every run.
    """
    if config.data == "examples":
        unit = "labeled examples"
        data = f"{config.examples.shots} + {config.examples.queries} examples"
        if "accuracy" in " ".join(metrics[0][-1] if metrics[0] else ()):
            data += " per class"
        per = f"with {data} each"
    else:
        unit = "environment steps"
        per = f"with {config.episodes} episodes of {config.horizon} steps each"
        if config.batch_by == "steps":
            per = f"with episodes of {config.episodes * config.horizon:,} steps in all each"
        if config.inner.steps:
            per += ", before and again after every inner step"
    done = max((run[-1]["iteration"] + 1 for run in metrics if run), default=0)
    said = f"{done:,} meta-iterations of {config.tasks} tasks, {per}"
    last = [run[-1] for run in metrics if run]
    if last:
        each = " each" * (len(last) > 1)
        cost, time = (np.mean([line[name] for line in last]) for name in ("env_steps", "seconds"))
        said += f"; {amount(float(cost))} {unit} in {duration(float(time))}{each}"
    return f"{said}; {'seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}."


def achieved(config: TrainConfig, result: dict[str, Any], decimals: int) -> str:
    """What adaptation does to the metric, in a sentence.

    Args:
        result: an evaluation's, or a comparison's method with its settings.
    """
    if result["episodes"]:
        data = f"{result['episodes']} episodes of a task"
        if not result["groups"]:  # of a few kinds, all have been seen
            data += " it has never seen"
    else:
        data = f"{result['shots']} examples of a task it has never seen"
        if result["metric"] == "accuracy":
            data = f"{result['shots']} examples per class it has never seen"
    k = min(config.inner.steps, result["steps"][-1])
    before, after = (number(result["mean"][i], decimals) for i in (0, k))
    noun = MEANS[result["metric"]]
    if k == 0:
        return f"Without adaptation the {noun} is {before}."
    return (
        f"{_counted(k)} gradient step{'s' * (k > 1)} on {data} {'take' if k > 1 else 'takes'} the "
        f"{noun} from {before} to {after}."
    )


def beside(methods: dict[str, Any], k: int, decimals: int) -> str:
    """How the baselines of a comparison do after k steps, in a sentence; empty without any."""
    said = []
    for name, what in BASELINES.items():
        if name in methods:
            mean = methods[name]["mean"]
            value = number(mean[min(k, len(mean) - 1)], decimals)
            said.append(f"{what} ({name}) {'to' if said else 'comes to'} {value}")
    return f"With the same step{'s' * (k != 1)}, {listed(said)}." if said else ""


def adaptation_alt(
    metric: str, methods: dict[str, Sequence[float]], shown: Sequence[int], decimals: int
) -> str:
    """What a picture of means over inner steps shows.

    Args:
        methods: mean after each step of `shown`, or the one mean of what does not adapt.
    """
    said = [
        f"{name} {', '.join(number(value, decimals) for value in means)}"
        for name, means in methods.items()
    ]
    what = f"{METRICS[metric].capitalize()} after {listed(shown)} inner gradient steps"
    return f"{what}: {'; '.join(said)}."


def learning_alt(metric: str, metrics: Sequence[dict[str, Any]], config: TrainConfig) -> str:
    """What a learning curve shows: where it begins and ends, as means of a few lines."""
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


def tasks_alt(result: dict[str, Any], decimals: int) -> str:
    """What a picture of every task's return shows."""
    returns = np.array([task["return"] for task in result["per_task"]], float)

    def ends(k: int) -> str:
        low, high = (number(end(returns[:, k]), decimals) for end in (np.min, np.max))
        return f"from {low} to {high}"

    last = returns.shape[1] - 1
    said = [f"before adaptation {ends(0)}"]
    said += [f"after {steps(k)} {ends(k)}" for k in sorted({min(1, last), last} - {0})]
    return f"Return of each of {len(returns)} tasks: {', '.join(said)}."


def fits_alt(result: dict[str, Any]) -> str:
    """What a picture of fitted curves shows."""
    drawn = len(result["fits"])
    errors = np.array([task["mse"] for task in result["per_task"][:drawn]], float).mean(0)
    last = len(errors) - 1
    said = [f"{number(errors[0], 3)} before adaptation"]
    said += [f"{number(errors[k], 3)} after {steps(k)}" for k in sorted({min(1, last), last} - {0})]
    return (
        f"Examples of {drawn} tasks never seen and the curves fitted to them: mean squared error "
        f"{', '.join(said)}."
    )


def _counted(count: int) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[count] if count < len(words) else str(count)
