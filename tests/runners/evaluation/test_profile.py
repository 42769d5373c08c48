"""What a meta-iteration costs."""

from dataclasses import replace

import pytest

from rlmaml import algorithms
from rlmaml.config import EnvConfig, ExamplesConfig
from runners.evaluation import profile
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training import train

pytestmark = pytest.mark.slow

SINUSOID = replace(PRESETS["sinusoid"][1], tasks=3, examples=ExamplesConfig(4, 5))


def test_what_an_iteration_costs_is_measured_in_a_process_of_its_own():
    """Memory grows with what an update holds: here with the examples of a task."""
    peaks = []
    for count in (5, 2000):
        config = replace(SINUSOID, examples=ExamplesConfig(count, count), tasks=25)
        cost = profile.in_own_process(config, seconds=0.5)
        assert cost.iterations_per_second > 0
        assert cost.measured_iterations >= profile.LEAST
        peaks.append(cost.peak_memory_mb)
    assert peaks[1] > peaks[0] + 20


def test_a_failed_measurement_says_what_failed():
    config = replace(SINUSOID, env=EnvConfig("rlmaml/Nowhere-v0"))
    with pytest.raises(RuntimeError, match=r"Measuring maml failed: .*Nowhere-v0"):
        profile.in_own_process(config)


def test_the_cost_of_a_run_is_that_of_its_middle(monkeypatch):
    seen = []
    config = with_algorithm(replace(PRESETS["sinusoid"][1], tasks=2, iterations=50), "maml++")
    real = train.meta_batch

    def noted(*arguments):
        seen.append(arguments)
        return real(*arguments)

    monkeypatch.setattr("runners.evaluation.profile.meta_batch", noted)
    kind = algorithms.get_algorithm("maml++")
    states = []
    update = kind.update
    monkeypatch.setattr(kind, "update", lambda self, s, b: states.append(s) or update(self, s, b))
    from runners.evaluation import profile

    profile.measure(config, seconds=0.0)
    assert states[0].iteration == 25
    assert len(seen) == len(states) >= profile.LEAST
