"""Tables of presets: a line a preset, made from the files of a folder of docs/results.

    python -m benchmarks.presets [FOLDER]        # families, the default, or control

`NAME.json` there is the comparison that `rlmaml evaluate` writes of a preset's published seeds and
random networks; `NAME-baselines.json` that of the seeds beside which pre-trained policies and
oracles were trained; `NAME-curves.json` are learning curves (`benchmarks.curves`). The pages that
are about a folder have the commands, and its tables as they are printed here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import markdown
from runners import formatting
from runners.evaluation import tables
from runners.evaluation.results import ComparedMethod, Comparison

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGES = {"families": "families.md", "control": "README.md"}
"""The page of each folder."""
META = "meta-trained"
PUBLISHED = {
    "promp-ant-goal": "-535, at 372 M",
    "promp-half-cheetah-dir": "254, at 211 M",
    "promp-walker-params": "VariBAD: a little under 1000",
}
"""Figures on the same laws, of docs/families.md."""
HEADER = (
    "preset",
    "before",
    "1 step",
    "2 steps",
    "3 steps",
    "random",
    "pre-trained",
    "oracle",
    "env steps",
    "minutes",
    "published",
)


def line(results: Path, preset: str) -> list[str]:
    """Cells of a preset's line.

    Args:
        results: folder of the files.
        preset: its name.
    """
    compared = Comparison.load(results / f"{preset}.json")
    decimals = formatting.digits(compared.metric, list(compared.methods[META].mean))
    own, random = compared.methods[META], compared.methods["random"]

    def shown(value: float) -> str:
        return formatting.number(value, decimals).replace("−", "-")

    means = [shown(value) for value in own.mean]
    after_one = [shown(value) for value in own.run_means[:, 1]]
    seeds = ", ".join(after_one) if len(after_one) > 1 else "one seed"
    after = [means[0], f"**{means[1]}** ({seeds})", *means[2:]]
    minutes = ", ".join(f"{seconds / 60:.0f}" for seconds in own.train_seconds)
    path = results / f"{preset}-baselines.json"
    beside = ["not trained", "not trained"]
    if path.exists():
        methods = Comparison.load(path).methods
        beside = [pretrained(methods["pretrained"], shown), shown(methods["oracle"].mean[0])]
    return [
        f"`{preset}`",
        *[*after, "–", "–"][:4],
        f"{shown(random.mean[0])}, {shown(np.nanmax(random.mean[1:]))}",
        *beside,
        formatting.amount(float(np.mean(own.train_env_steps))),
        minutes or "not kept",
        PUBLISHED.get(preset, "–"),
    ]


def pretrained(method: ComparedMethod, shown: Callable[[float], str]) -> str:
    """The policy for all tasks before, and at its best after steps of its best size."""
    best = 1 + int(np.nanargmax(method.mean[1:]))
    steps = f"{formatting.steps(best)} of {method.step_size[0]:g}"
    return f"{shown(method.mean[0])}, {shown(method.mean[best])} after {steps}"


def presets(results: Path) -> list[str]:
    """The presets that a folder has files of, in the order of their names."""
    beside = ("-baselines", "-curves")
    return sorted(path.stem for path in results.glob("*.json") if not path.stem.endswith(beside))


def table(results: Path) -> str:
    """The table in Markdown of a folder's files."""
    return markdown.table(HEADER, [line(results, preset) for preset in presets(results)])


def kinds(results: Path) -> str:
    """A table of those presets that have kinds of tasks, directions for example, a line a kind.

    Means over seeds with half of their 95 % intervals (Student's t over seeds).
    """
    lines = []
    for preset in presets(results):
        compared = Comparison.load(results / f"{preset}.json")
        own = compared.methods[META]
        decimals = formatting.digits(compared.metric, list(own.mean))
        for name, group in own.groups.items() if len(own.seeds) > 1 else ():
            cells = [
                str(tables.plus_minus(mean, half, decimals)).replace("−", "-")
                for mean, half in zip(group.mean, group.ci95, strict=True)
            ]
            lines.append([f"`{preset}`", name, *cells])
    return markdown.table(("preset", "tasks", "before", "1 step", "2 steps", "3 steps"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="families", choices=PAGES)
    folder = RESULTS / parser.parse_args().folder
    print(table(folder), kinds(folder), sep="\n\n")


if __name__ == "__main__":
    main()
