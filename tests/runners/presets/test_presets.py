"""Every preset is built, and goes with every algorithm."""

import dataclasses
import itertools
import json

import pytest

from rlmaml import algorithms, tree
from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from runners import presets
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.slow
def test_every_preset_is_built_and_survives_json(name, image_folder, text_table):
    _, config = presets.PRESETS[name]
    assert config.preset == name
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    if root := {"images": image_folder, "text": text_table}.get(name):
        env = EnvConfig(config.env.id, {"root": str(root)})
        config = dataclasses.replace(config, env=env)
    experiment = build_experiment(dataclasses.replace(config, episodes=2), tasks=2)
    tasks = experiment.sample_tasks(2, generator(0))
    stacked = tree.repeat(experiment.params, 2)
    data = experiment.sampler(stacked, tasks, (0, 0, 0))
    assert all(len(leaf) == 2 for leaf in tree.leaves(data))
    experiment.close()


def test_every_algorithm_goes_with_every_preset():
    """A configuration each, or a refusal because labeled examples are no episodes; all that fail
    are listed."""
    failures = []
    for preset, name in itertools.product(PRESETS, algorithms.TABLE):
        config = PRESETS[preset].config
        episodes = "episodes" in algorithms.get_algorithm(name).requires
        try:
            changed = with_algorithm(config, name)
        except ConfigError as problem:
            if not (episodes and config.data == "examples" and "is for episodes" in str(problem)):
                failures.append(f"{name} on {preset}: {problem}")
            continue
        if episodes and config.data == "examples":
            failures.append(f"{name} on {preset} learns from labeled examples")
        if changed.algorithm != name or TrainConfig.from_dict(changed.to_dict()) != changed:
            failures.append(f"{name} on {preset} does not survive JSON")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_goes_with_the_usual_settings(preset):
    config = PRESETS[preset][1]
    usual = with_algorithm(config, "bayesian-maml")  # or it is refused
    assert usual.inner.step_size == pytest.approx(2.5 * config.inner.step_size)
    shorter = with_algorithm(dataclasses.replace(config, episodes=15), "bayesian-maml")
    assert shorter.trust_region.fisher_fraction <= 1
