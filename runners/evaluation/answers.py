"""One task of images never seen, as it was answered: its support set, its queries, the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rlmaml import tree
from rlmaml.build import Experiment
from rlmaml.inner import adapt
from rlmaml.types import Examples, Meta, MetaBatch
from runners import formatting
from runners.plotting import AFTER, BEFORE, Target, save

MOST = 20
"""Support images, and queries, that are shown of a task."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Images of one task, `[n, C, H, W]` from 0 to 1, their labels, and what was answered."""

    support: np.ndarray
    labels: np.ndarray
    """[shots]."""
    queries: np.ndarray
    truth: np.ndarray
    """[queries]."""
    answers: np.ndarray
    """[K+1, queries], after each step."""


def of_images(experiment: Experiment, meta: Meta, batch: MetaBatch) -> Answers | None:
    """What is answered on a batch's first task; None unless it classifies images."""
    query = batch.query
    if not isinstance(query, Examples) or not batch.support:
        return None
    pixels = query.plain_inputs
    drawable = pixels.ndim == 5 and pixels.shape[2] in (1, 3)
    if not drawable or query.targets.is_floating_point():
        return None
    one: MetaBatch = tree.map(lambda leaf: leaf[0], batch)
    algorithm = experiment.algorithm
    with torch.no_grad():
        iterates = adapt(algorithm.inner, meta, one.support)
        # `mode` of particles' mixtures too.
        modes = [algorithm.policy(params, one.query.inputs).mode() for params in iterates]
    support = one.support[0]
    assert isinstance(support, Examples)
    return Answers(
        support=support.plain_inputs.cpu().numpy(),
        labels=support.targets.cpu().numpy(),
        queries=one.query.plain_inputs.cpu().numpy(),
        truth=query.targets[0].cpu().numpy(),
        answers=torch.stack(modes).cpu().numpy(),
    )


def draw(found: Answers, path: Target, title: str) -> None:
    """Plot the support set with its labels, and queries with what was answered after all steps.

    Args:
        found: the task.
        path: where the plot goes.
        title: of the plot.
    """
    from matplotlib.figure import Figure

    steps = len(found.answers) - 1
    last = found.answers[-1]
    rows = [
        ("support", found.support, [(f"{label}", "black") for label in found.labels]),
        (
            "queries",
            found.queries,
            [
                (
                    f"{said}" if said == true else f"{said}, not {true}",
                    AFTER if said == true else BEFORE,
                )
                for said, true in zip(last, found.truth, strict=True)
            ],
        ),
    ]
    columns = min(10, max(len(found.labels), len(found.truth)))
    lines = [
        (name, images[i : i + columns], words[i : i + columns])
        for name, images, words in rows
        for i in range(0, min(len(images), MOST), columns)
    ]
    figure = Figure(figsize=(columns, 1.4 * len(lines) + 0.4), dpi=120, layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (name, images, words) in zip(grid, lines, strict=True):
        for axes, image, (word, color) in zip(line, images, words, strict=False):
            axes.imshow(np.moveaxis(image, 0, -1), cmap="gray", vmin=0, vmax=1)
            axes.set_title(word, color=color, fontsize="small")
        line[0].text(
            -0.15, 0.5, name, transform=line[0].transAxes, rotation=90, va="center", ha="right"
        )
    right = int((last == found.truth).sum())
    said = f"{right} of {len(last)} queries right after {formatting.steps(steps)}"
    figure.suptitle(f"{title}: {said}" if title else said, fontsize="medium")
    save(figure, path)
