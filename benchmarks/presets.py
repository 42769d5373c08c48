"""Tables of presets: a line a preset, made from the files of a folder of docs/results.

    python -m benchmarks.presets [FOLDER]        # families, the default, or control

`NAME.json` there is the comparison that `rlmaml evaluate` writes of a preset's published seeds and
random networks; `NAME-baselines.json` that of the seeds beside which pre-trained policies and
oracles were trained; `NAME-curves.json` are learning curves (`benchmarks.curves`).
`NAME.ALGORITHM.json` and its curves are of the preset by another algorithm than its own, beside the
preset's baselines, which no algorithm of ours has a part in. The pages that are about a folder have
the commands, and its tables as they are printed here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import curves, markdown
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
        preset: its name, and perhaps its algorithm.
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
    path = baselines(results, preset)
    beside = ["not trained", "not trained"]
    if path.exists():
        methods = Comparison.load(path).methods
        beside = [pretrained(methods["pretrained"], shown), shown(methods["oracle"].mean[0])]
    return [
        shown_name(preset),
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


def baselines(results: Path, preset: str) -> Path:
    """The file of a preset's baselines, whatever algorithm it is by; it need not exist."""
    return results / f"{preset.partition('.')[0]}-baselines.json"


def shown_name(preset: str) -> str:
    """A preset as tables name it, with its algorithm where that is another than its own."""
    name, _, algorithm = preset.partition(".")
    return f"`{name}`, `{algorithm}`" if algorithm else f"`{name}`"


def presets(results: Path) -> list[str]:
    """The presets that a folder has files of, by other algorithms too, in order of their names."""
    beside = ("-baselines", "-curves")
    names = (path.stem for path in results.glob("*.json") if not path.stem.endswith(beside))
    return sorted(names, key=lambda name: name.partition("."))


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
            lines.append([shown_name(preset), name, *cells])
    return markdown.table(("preset", "tasks", "before", "1 step", "2 steps", "3 steps"), lines)


def shares(results: Path) -> str:
    """A table of shares of the way from the untrained network to the oracle, a line a preset.

    Of pre-training at its best, and of all seeds after each step; and how far these are from there
    to the oracle.
    """
    lines = []
    for preset in presets(results):
        path = baselines(results, preset)
        if not path.exists():
            continue
        compared = Comparison.load(results / f"{preset}.json")
        own, start = compared.methods[META].mean[1:], compared.methods["random"].mean[0]
        beside = Comparison.load(path).methods
        best, oracle = np.nanmax(beside["pretrained"].mean), beside["oracle"].mean[0]
        ways = [
            *(np.array([best, *own]) - start) / (oracle - start),
            *((own - best) / (oracle - best) if best < oracle else []),
        ]
        cells = [f"{way:.0%}" for way in ways]
        lines.append([shown_name(preset), *cells, *["–"] * (1 + 2 * len(own) - len(cells))])
    steps = [formatting.steps(k) for k in (1, 2, 3)]
    beyond = [f"beyond it, {step}" for step in steps]
    return markdown.table(("preset", "pre-trained at its best", *steps, *beyond), lines)


def soon(results: Path) -> str:
    """A table of env steps and minutes to shares of the way to the oracle, a line a seed.

    Of training: until the mean of `curves.WINDOW` iterations first was there.
    """
    lines = []
    for preset in presets(results):
        path, beside = results / f"{preset}-curves.json", baselines(results, preset)
        if not (path.exists() and beside.exists()):
            continue
        start = Comparison.load(results / f"{preset}.json").methods["random"].mean[0]
        goal = Comparison.load(beside).methods["oracle"].mean[0]
        for seed, one in json.loads(path.read_text())["seeds"].items():
            lines.append([shown_name(preset), seed, *curves.cells(one, float(start), float(goal))])
    return markdown.table(("preset", "seed", *map("{:.0%}".format, curves.SHARES)), lines)


TABLES = (table, shares, kinds, soon)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="families", choices=PAGES)
    folder = RESULTS / parser.parse_args().folder
    print(*(each(folder) for each in TABLES), sep="\n\n")


if __name__ == "__main__":
    main()
