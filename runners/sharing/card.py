"""The page of a run that is shared, README.md: what was learned, how well, from what, and its use.

Its head is the metadata of the Hugging Face Hub, as YAML, of which JSON is a part.
"""

from __future__ import annotations

import json
import keyword
from dataclasses import dataclass, field

import jinja2
import numpy as np

from rlmaml.config import TrainConfig
from rlmaml.models.spec import PredictorSpec
from runners import formatting
from runners.evaluation.results import Evaluation
from runners.evaluation.tables import Table
from runners.presets import PRESETS
from runners.reporting import provenance, sentences
from runners.run_dir import Origin
from runners.training.plots import Metrics

LOADED_BY = "rlmaml"
"""The hub's name for the library that loads it."""


@dataclass(frozen=True)
class Contents:
    """All that a page tells of a run."""

    named: str
    """What the run is loaded by."""
    license: str
    config: TrainConfig
    origin: Origin
    iteration: int
    metrics: Metrics
    train_command: str
    evaluation: Evaluation | None = None
    predictor: PredictorSpec | None = None
    pictures: dict[str, str] = field(default_factory=dict)
    """Captions by file."""
    replay: str | None = None
    """The file of a video."""
    replay_shows: str = ""


def page(contents: Contents) -> str:
    """The page in Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runners.sharing"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # Markdown, which the hub cleans of scripts
    environment.filters["cell"] = _cell
    config = contents.config
    context = {
        "metadata": {name: json.dumps(value) for name, value in _metadata(contents).items()},
        "title": contents.named.removeprefix("hf://").rpartition("/")[2],
        "learned": _learned(config),
        "code": _code(contents),
        "named": contents.named,
        "requirement": "rlmaml[hub]" if contents.named.startswith("hf:") else "rlmaml",
        "modules": formatting.listed(_modules(config)) if _modules(config) else "",
        "table": None,
        "trained": sentences.trained(config, [contents.metrics], [config.seed]),
        "trained_with": _versions(contents.origin.versions or {}),
        "train_command": formatting.one_line(contents.train_command),
        "settings": [row for row in provenance.settings(config) if row.special],
        "iteration": f"{contents.iteration:,}",
        "pictures": contents.pictures,
        "replay": contents.replay,
        "replay_shows": contents.replay_shows,
    }
    return environment.get_template("card.md").render(context | _evaluated(contents))


def _evaluated(contents: Contents) -> dict[str, object]:
    result = contents.evaluation
    if result is None:
        return {}
    decimals = formatting.digits(result.metric, result.mean)
    command = provenance.evaluate_command(result, [contents.named])
    return {
        "achieved": sentences.achieved(contents.config, result, decimals),
        "held_out": sentences.held_out(result),
        "table": _markdown(result.table()),
        "evaluated_with": _versions(result.versions),
        "evaluate_command": formatting.one_line(command),
    }


def _learned(config: TrainConfig) -> str:
    """Say what the parameters are for, and of what tasks."""
    preset = PRESETS.get(config.preset)
    family = f"`{formatting.one_line(config.env.id)}`"
    if preset:
        family = f"the tasks of `{config.preset}` ({preset.description}; {family})"
    algorithm = f"`{formatting.one_line(config.algorithm)}`"
    steps = config.inner.steps
    if not steps:
        return f"Parameters that {algorithm} has learned without adaptation on {family}."
    data = f"{config.episodes} episodes of a new task"
    if config.data == "examples":
        data = f"{config.examples.shots} labeled examples of a new task"
    made = "a predictor" if config.data == "examples" else "a policy"
    make = (
        f"gradient steps, each on {data}, make" if steps > 1 else f"gradient step on {data} makes"
    )
    return (
        f"Initial parameters that {algorithm} has meta-learned over {family}: {steps} {make} "
        f"{made} for it."
    )


def _metadata(contents: Contents) -> dict[str, object]:
    config, result = contents.config, contents.evaluation
    episodes = config.data == "episodes"
    words = ("meta-learning", config.algorithm, config.preset, config.env.id)
    tags = [formatting.one_line(word) for word in words if ":" not in word]  # it reads those apart
    values: dict[str, object] = {
        "license": contents.license,
        "library_name": LOADED_BY,
        "tags": ["reinforcement-learning"] * episodes + tags,
    }
    if episodes:
        values["pipeline_tag"] = "reinforcement-learning"
    if result is not None:
        task = "reinforcement-learning" if episodes else "few-shot-learning"
        name = contents.named.removeprefix("hf://").rpartition("/")[2]
        values["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": task, "name": task.replace("-", " ")},
                        "dataset": {"type": config.preset, "name": config.preset},
                        "metrics": _measured(result),
                    }
                ],
            }
        ]
    return values


_ON_HUB = {"return": "mean_reward", "mse": "mse", "accuracy": "accuracy"}
"""The hub's names of metrics."""


def _measured(result: Evaluation) -> list[dict[str, object]]:
    """The metric after each number of steps, where it is finite."""
    noun = formatting.NOUNS[result.metric]
    return [
        {
            "type": _ON_HUB[result.metric],
            "name": f"{noun} after {formatting.steps(k)} of adaptation",
            "value": round(float(mean), 4),
        }
        for k, mean in zip(result.steps, result.mean, strict=True)
        if np.isfinite(mean)
    ]


def _code(contents: Contents) -> str:
    """Lines that load the run and adapt it."""
    config = contents.config
    trust = ", trust=True" if _modules(config) else ""
    load = f"rlmaml.load({contents.named!r}{trust})".replace("'", '"')
    if config.data == "examples":
        shape = targets = "..."
        if contents.predictor is not None:
            spec = contents.predictor
            shape = ", ".join(map(str, spec.input_shape)) or "..."
            targets = "" if spec.classifies else f", {spec.output_size}"
        count = config.examples.shots
        return (
            f"import rlmaml\n\nlearner = {load}\n"
            f"# inputs [{count}, {shape}] and targets [{count}{targets}] of a task\n"
            "predictor = learner.adapt(inputs, targets)\npredictor(inputs)"
        )
    prefix = "rlmaml:" if config.env.id.startswith("rlmaml/") else ""
    arguments = {"max_episode_steps": config.horizon}
    arguments |= provenance.without_folders(config.env.kwargs)
    given = ", ".join(_argument(*each) for each in arguments.items())
    task = "task"
    if contents.evaluation is not None:
        task = json.dumps(contents.evaluation.task_list[0])
    return (
        "import gymnasium\nimport rlmaml\n\n"
        f"env = gymnasium.make({json.dumps(prefix + config.env.id)}, {given})\n"
        f"env.unwrapped.set_task({task})\n"
        f"policy = {load}.adapt(env)\n"
        "observation, _ = env.reset(seed=0)\naction, _ = policy.predict(observation)"
    )


def _argument(name: str, value: object) -> str:
    """An argument of a call as Python; a name that is none, which may be code, as a string."""
    if name.isidentifier() and not keyword.iskeyword(name):
        return f"{name}={value!r}"
    return f"**{ {name: value}!r}"


def _modules(config: TrainConfig) -> list[str]:
    """What the configuration names of code outside the package."""
    names = [config.algorithm, config.outer, config.env.id]
    return [f"`{formatting.one_line(name)}`" for name in names if ":" in name]


def _versions(versions: dict[str, str]) -> str:
    found = [f"{name} {version}" for name, version in versions.items() if name != "platform"]
    return formatting.one_line(", ".join(found)) or "versions unknown"


def _markdown(table: Table) -> str:
    """The table in Markdown."""
    lines = [["", *(formatting.steps(int(column)) for column in table.columns)]]
    lines.append(["---", *["---:"] * len(table.columns)])
    for body in table.bodies:
        lines += [[row.label.strip(), *map(str, row.cells)] for row in body.rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return formatting.one_line(text).replace("|", "\\|")
