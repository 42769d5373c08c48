"""Meta-train a regression over sinusoids, then fit a new one to ten examples.

python examples/few_shot.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import rlmaml
from runners.presets import PRESETS
from runners.training.train import train


def main(iterations: int = 500, out: Path = Path("runs/example-few-shot")) -> None:
    """Meta-train `sinusoid`, and print the error on a new sinusoid after each inner step.

    Args:
        iterations: Meta-iterations; the preset has 70,000.
        out: Run folder to make.
    """
    _, config = PRESETS["sinusoid"]
    folder = train(config.changed({"iterations": iterations, "log_every": 100}), out)
    learner = rlmaml.load(folder.path)

    # Ten examples of a sinusoid, and the whole curve to compare with.
    rng = np.random.default_rng(0)
    amplitude, phase = 3.0, 1.0
    x = rng.uniform(-5, 5, (10, 1))
    curve = np.linspace(-5, 5, 100)[:, None]

    for steps in (0, 1, 5, 10):
        predict = learner.adapt(x, amplitude * np.sin(x - phase), steps=steps)
        error = np.mean((predict(curve) - amplitude * np.sin(curve - phase)) ** 2)
        print(f"mean squared error after {steps:2d} inner steps: {error:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
