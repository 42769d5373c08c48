"""Training on sinusoids as a run does it."""

from dataclasses import replace

import numpy as np

from rlmaml.models.mlp import PolicyConfig
from rlmaml.outer.optimizer import Optimizer
from rlmaml.sampling.collect import collect
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training.train import meta_batch


def learned_sinusoids(name, iterations=300):
    """Training on sinusoids as a run usually does it: mean MSE before and after adapting."""
    config = replace(
        PRESETS["sinusoid"][1],
        iterations=iterations,
        policy=PolicyConfig(hidden=(20, 20)),
        optimizer=Optimizer(learning_rate=5e-3),
    )
    config = with_algorithm(config, name)
    experiment = build_experiment(config)
    method = experiment.algorithm
    state = method.init(experiment.params)
    for i in range(iterations):
        state, _ = method.update(state, meta_batch(experiment, config, state.meta, i))
    tasks = experiment.sample_tasks(100, np.random.default_rng(5), split="test")
    steps = max(config.inner.steps, 1)
    batch = collect(
        experiment.sampler, method.inner, state.meta, tasks, steps=steps, key=(9, 0, 2000)
    )
    line = experiment.metric.line(state.meta, batch)
    return line["mse/pre"], line["mse/post"]
