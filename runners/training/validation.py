"""Scores of checkpoints, on tasks that nothing is learned from."""

from __future__ import annotations

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.types import State
from runners.environments import build_experiment


class Validator:
    """Measures parameters on tasks of the validation split: always the same tasks and draws.

    Args:
        config: of the run; `validation_tasks` says how many.

    Attributes:
        experiment: what it measures with, to be closed.

    Raises:
        ConfigError: a family without validation tasks.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.experiment = build_experiment(config, tasks=config.validation_tasks)
        rng = generator(config.seed, 0, Phase.VALIDATION_TASKS)
        try:
            tasks = self.experiment.sample_tasks(config.validation_tasks, rng, split="validation")
        except ValueError as problem:
            raise ConfigError(
                f"There are no validation tasks ({problem}): pass --validation-tasks 0."
            ) from problem
        self._tasks = tasks[processes.share(len(tasks))]

    def __call__(self, state: State, normalizer: Normalizer | None) -> dict[str, float]:
        """Means over tasks, as `validation/NAME/pre` and so on."""
        experiment, config = self.experiment, self._config
        if experiment.normalizer is not None and normalizer is not None:
            experiment.normalizer.load_state_dict(normalizer.state_dict())
        batch = collect(
            experiment.sampler,
            experiment.algorithm.inner,
            state.meta,
            self._tasks,
            steps=config.inner.steps,
            key=(config.seed, 0, Phase.VALIDATION_ROLLOUT),
            chunk_size=experiment.algorithm.chunk_size,
        )
        line = experiment.metric.line(state.meta, batch)
        return {f"validation/{name}": value for name, value in line.items()}
