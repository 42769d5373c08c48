"""Cost of a meta-iteration in time and memory, measured in a process of its own."""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from rlmaml.config import TrainConfig
from runners import torch_setup
from runners.environments import build_experiment
from runners.training.train import meta_batch

WARM_UP, LEAST, SECONDS = 3, 5, 3.0
"""Iterations before measuring; how many are measured at least, and for how long."""


@dataclass(frozen=True)
class Cost:
    """Cost of a meta-iteration, sampling and update."""

    iterations_per_second: float
    """Rate at the median time."""
    updates_per_second: float
    """The same without sampling."""
    peak_memory_mb: float
    """Most that the process, or on a GPU its allocator, held beyond what it held before."""
    measured_iterations: int = 0


def in_own_process(config: TrainConfig, seconds: float = SECONDS) -> Cost:
    """`measure` in a fresh process, so that what ran before leaves no trace in its memory.

    Args:
        config: what to run.
        seconds: as of `measure`.

    Raises:
        RuntimeError: a process that failed; with the last line of its errors.
    """
    done = subprocess.run(
        [sys.executable, "-m", "runners.evaluation.profile", str(seconds)],
        input=json.dumps(config.to_dict()),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last_line = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"Measuring {config.algorithm} failed: {''.join(last_line)}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measure(config: TrainConfig, seconds: float = SECONDS) -> Cost:
    """Run meta-iterations, sampling and update, without logs, checkpoints and evaluations.

    Args:
        config: what to run.
        seconds: that are measured at least.
    """
    torch_setup.configure(config)
    experiment = build_experiment(config)
    algorithm = experiment.algorithm
    state = algorithm.initial_state(algorithm.init_meta(experiment.params))
    # What some algorithms do at the beginning alone is not what most of a run costs.
    state = state._replace(iteration=config.iterations // 2)
    iterations, updates = [], []
    before = start_watching(experiment.device)
    while len(iterations) < WARM_UP + LEAST or sum(iterations[WARM_UP:]) < seconds:
        began = time.perf_counter()
        batch = meta_batch(experiment, config, state.meta, len(iterations))
        sampled = time.perf_counter()
        state, _ = algorithm.update(state, batch)
        wait_for(experiment.device)
        iterations.append(time.perf_counter() - began)
        updates.append(time.perf_counter() - sampled)
    most = peak(experiment.device)
    experiment.close()
    return Cost(
        iterations_per_second=1 / statistics.median(iterations[WARM_UP:]),
        updates_per_second=1 / statistics.median(updates[WARM_UP:]),
        peak_memory_mb=(most - before) / 1e6,
        measured_iterations=len(iterations) - WARM_UP,
    )


def start_watching(device: torch.device) -> int:
    """Forget earlier peaks, and return the bytes held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):  # Linux; elsewhere the peak so far stands
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_of_process()


def peak(device: torch.device) -> int:
    """Most bytes held since `start_watching`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _peak_of_process()


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _peak_of_process() -> int:
    """Most bytes that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    read = TrainConfig.from_dict(json.load(sys.stdin))
    print(json.dumps(asdict(measure(read, float(sys.argv[1])))))
