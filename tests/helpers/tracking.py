"""Runs with metrics that nothing was trained for, and trackers that remember, fail or hang."""

import threading

from rlmaml.config import TrainConfig
from runners.run_dir import RunDir
from runners.tracking.base import Tracker


def line(iteration):
    """A line of metrics, as a run writes it."""
    return {
        "iteration": iteration,
        "attempt": 1,
        "env_steps": 100 * (iteration + 1),
        "seconds": 0.5 * iteration,
        "return/pre": -3.25 - iteration,
        "return/post": 0.1 * iteration,
        "surrogate": 0.5,
        "surrogate/gain": float("nan") if iteration == 1 else 0.125,
        "outcome": "accepted",
        "kl/per_task": [0.5, 0.25],
    }


def numbers(iteration):
    """What of a line trackers get."""
    without = {"iteration", "outcome", "kl/per_task"}
    if iteration == 1:
        without.add("surrogate/gain")
    return {name: value for name, value in line(iteration).items() if name not in without}


def untrained(path, iterations, **options):
    """A run folder of a run of so many iterations, of which `iterations` are done."""
    folder = RunDir(path)
    config = TrainConfig(preset="navigation", seed=3, iterations=4).changed(options)
    folder.create(config)
    for iteration in range(iterations):
        folder.append_metrics(line(iteration))
    return folder


class Remembering(Tracker):
    """A tracker that keeps what it gets, for all its runs.

    Attributes:
        runs: by id, the steps and numbers of each run.
        made: what each was made of.
        ends: what was said at each end.
    """

    module = "json"
    runs: dict
    made: list
    ends: list

    def __init__(self, run):
        self.id = run.id or f"run-{len(self.runs)}"
        self.where = f"here/{self.id}"
        self.runs.setdefault(self.id, [])
        self.made.append(run)

    def write(self, iteration, numbers):
        self.runs[self.id].append((iteration, numbers))

    def close(self, finished):
        self.ends.append(finished)


def remembering():
    """A class of trackers with a memory of its own."""
    return type("Fresh", (Remembering,), {"runs": {}, "made": [], "ends": []})


def failing(where, problem):
    """A class of trackers that raise in "__init__", "write" or "close"; "write" in its second."""

    def fail(self, *_):
        if where == "write" and len(self.runs[self.id]) < 1:
            return Remembering.write(self, *_)
        raise problem

    return type("Failing", (remembering(),), {where: fail})


def hanging():
    """A class of trackers that take a long time over an iteration, or until they are let go."""
    kind = remembering()
    kind.let_go = threading.Event()

    def wait(self, *_):
        self.let_go.wait(60)

    kind.write = wait
    return kind
