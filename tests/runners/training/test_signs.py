"""Signs of how adaptation goes."""

import contextlib
from dataclasses import replace

import pytest
from torch.distributions import Normal, kl_divergence

from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training import signs, train


def said(shares):
    watch = signs.Signs()
    lines = [watch.note({} if share is None else {"helped": share}) for share in shares]
    return [line for line in lines if line], watch.summary()


def test_steps_that_harm_are_told_of_once():
    lines, summary = said([0.3] * 50)
    assert len(lines) == 1
    assert "made 70% of the tasks no better or worse" in lines[0]
    assert "--inner.step-size" in lines[0]
    assert "helped in 30%" in summary


def test_a_short_while_says_nothing():
    assert said([0.0] * (signs.WINDOW - 1)) == ([], None)
    assert said([0.0] * 5 + [1.0] * signs.WINDOW) == ([], None)


def test_steps_that_do_nothing_are_told_of_at_the_end():
    lines, summary = said([0.9] * 100 + [0.5] * signs.WINDOW)
    assert lines == []
    assert "helped in 50% of the tasks" in summary


def test_without_inner_steps_there_is_nothing_to_say():
    assert said([None] * 100) == ([], None)


def test_an_inner_problem_that_is_not_solved_is_told_of_once():
    watch = signs.Signs()
    told = [watch.note({"residual": 0.3, "helped": 0.9}) for _ in range(2 * signs.WINDOW)]
    (line,) = filter(None, told)
    assert told.index(line) == signs.WINDOW - 1
    assert "kept 30% of the gradient" in line
    solved = signs.Signs()
    assert not any(solved.note({"residual": 0.05}) for _ in range(2 * signs.WINDOW))


@pytest.mark.parametrize("steps", [0, 2])
def test_how_far_adaptation_moves_policies(steps):
    config = PRESETS["navigation"].config
    config = replace(config, tasks=2, episodes=3, horizon=5, threads=1)
    config = replace(config, inner=replace(config.inner, steps=steps))
    with contextlib.closing(build_experiment(config)) as experiment:
        meta = experiment.algorithm.init_meta(experiment.params)
        batch = train.meta_batch(experiment, config, meta, 0)
        found = signs.adaptation_kl(experiment, batch)
        if not steps:
            assert found == {}
            return
        total = 0.0
        for task in range(2):
            for k, data in enumerate(batch.support):
                policies = [
                    experiment.algorithm.policy(
                        {name: leaf[task] for name, leaf in batch.iterates[i].items()},
                        data.inputs[task, 0],
                    )
                    for i in (k, k + 1)
                ]
                old, new = (Normal(each.mean, each.log_std.exp()) for each in policies)
                mask = data.mask[task, 0]
                total += float((kl_divergence(old, new).sum(-1) * mask).sum() / mask.sum()) / 4
    assert found == {"kl/adaptation": pytest.approx(total, rel=1e-4)}
    assert total > 0
