"""What a meta-iteration costs."""

from dataclasses import replace

from rlmaml import algorithms
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training import train


def test_the_cost_of_a_run_is_that_of_its_middle(monkeypatch):
    seen = []
    config = with_algorithm(replace(PRESETS["sinusoid"][1], tasks=2, iterations=50), "maml++")
    monkeypatch.setattr("runners.evaluation.profile.SECONDS", 0.0)
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

    profile.measure(config)
    assert states[0].iteration == 25
    assert len(seen) == len(states) >= profile.LEAST
