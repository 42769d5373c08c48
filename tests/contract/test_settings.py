"""Settings as people give them: what is refused, in which words, before anything is written."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import AlgorithmSettings, InnerConfig
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.outer.optimizer import Optimizer
from runners.evaluation.eval_config import EvalConfig
from runners.memory import check_memory
from tests.helpers.runs import refused

INF, NAN = math.inf, math.nan

OPTIONS = [
    ({"inner.step_size": NAN}, "inner.step_size must be finite, got nan"),
    ({"inner.step_size": INF}, "inner.step_size must be finite, got inf"),
    ({"inner.later_step_share": NAN}, "inner.later_step_share must be finite"),
    ({"inner.steps": 10**9}, "inner.steps must be at most 10,000"),
    ({"inner.steps": True}, "inner.steps must be an integer, got True"),
    ({"inner.steps": 2.0}, "inner.steps must be an integer, got 2.0"),
    ({"inner.surrogate": "lvC"}, "inner.surrogate must be one of log-likelihood, lvc, dice"),
    ({"trust_region.max_kl": INF}, "trust_region.max_kl must be finite"),
    ({"trust_region.damping": NAN}, "trust_region.damping must be finite"),
    ({"trust_region.backtrack_ratio": NAN}, "trust_region.backtrack_ratio must be finite"),
    ({"trust_region.cg_iterations": 10**12}, "trust_region.cg_iterations must be at most 100,000"),
    ({"optimizer.learning_rate": INF}, "optimizer.learning_rate must be finite"),
    ({"optimizer.learning_rate": 1e30}, "optimizer.learning_rate must be at most 1e+06"),
    ({"optimizer.clip_norm": NAN}, "optimizer.clip_norm must be finite"),
    ({"policy.output_gain": NAN}, "policy.output_gain must be finite"),
    ({"policy.init_log_std": 1e5}, "policy.init_log_std must be at most 40"),
    ({"policy.min_log_std": -INF}, "policy.min_log_std must be finite"),
    ({"policy.hidden": (8, 10**9)}, "policy.hidden must be at most 1,000,000"),
    ({"policy.hidden": (8.5,)}, "policy.hidden must be an integer"),
    ({"policy.activation": "gelu"}, "policy.activation must be one of tanh, relu, elu"),
    ({"conv.filters": 10**9}, "conv.filters must be at most"),
    ({"text.layers": 10**9}, "text.layers must be at most"),
    ({"examples.shots": 10**9}, "examples.shots must be at most"),
    ({"inner_advantages.discount": NAN}, "discount must be finite"),
    ({"outer_advantages.gae_lambda": INF}, "gae_lambda must be finite"),
    ({"tasks": 10**9}, "tasks must be at most 1,000,000"),
    ({"validation_tasks": 10**9}, "validation_tasks must be at most 1,000,000"),
    ({"iterations": 10**30}, "iterations must be at most"),
    ({"seed": 10**4000}, "seed must be at most"),
    ({"seed": -1}, "seed must be zero or more"),
    ({"threads": 10**9}, "threads must be at most 4,096"),
    ({"tasks": "3"}, "tasks must be an integer, got '3'"),
    ({"preset": "\x1b[31mred"}, "preset must have no control characters"),
    ({"env.kwargs": {"goal": [1.0, INF]}}, "env.kwargs: goal must be finite"),
    ({"chunk_size": NAN}, "chunk_size must be finite"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_a_value_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ConfigError) as refusal:
        TrainConfig().changed(options)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_as_large_as_works_is_taken():
    options = {"inner.step_size": 1e12, "seed": 2**70, "policy.min_log_std": -1000.0}
    assert TrainConfig().changed(options).seed == 2**70


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("Adam", {"differentiable": True}, "in-place"),
        ("SGD", {"maximize": True}, "the loss is to fall"),
        ("Adam", {"betas": [NAN, 0.9]}, "must be finite"),
        ("SGD", {"momentum": NAN}, "must be finite"),
        ("SGD", {"weight_decay": 1e25, "momentum": 0.9}, "not finite in 3 steps"),
        ("Adam", {"capturable": True}, "does not take"),
        ("SGD", {"nesterov": True}, "does not take"),
    ],
)
def test_an_optimizers_arguments_are_tried(name, kwargs, message):
    with pytest.raises(ConfigError) as refusal:
        Optimizer(name, kwargs=kwargs, learning_rate=1e6)
    assert message in str(refusal.value)


@pytest.mark.parametrize("kwargs", [{"foreach": True}, {"amsgrad": True}, {"maximize": False}])
def test_an_optimizers_other_arguments_are_taken(kwargs):
    assert Optimizer("Adam", kwargs=kwargs).kwargs == kwargs


def test_a_schedule_may_not_grow_without_end():
    optimizer = Optimizer(schedule="ExponentialLR", schedule_kwargs={"gamma": 1e200})
    with pytest.raises(ConfigError, match="it must stay finite"):
        optimizer.validate_schedule(10)


@dataclasses.dataclass(frozen=True)
class Own(AlgorithmSettings):
    """Settings of a user's."""

    rate: float = 1.0
    limits = {"rate": 10.0}  # noqa: RUF012


class Mine(MAML):
    Settings = Own


@pytest.mark.parametrize("rate", [NAN, INF, 11.0, True, "fast"])
def test_a_users_own_settings_are_checked_too(rate):
    with pytest.raises(ConfigError, match=r"algorithm_settings\.rate must be"):
        Mine(lambda params, inputs: None, settings=Own(rate))
    with pytest.raises(ConfigError, match=r"algorithm_settings\.rate must be"):
        TrainConfig(algorithm=f"{__name__}:Mine", algorithm_settings=Own(rate))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_size": NAN}, "--step-size must be finite"),
        ({"later_step_share": INF}, "--later-step-share must be finite"),
        ({"tasks": 10**9}, "--tasks must be at most 1,000,000"),
        ({"steps": 10**6}, "--steps must be at most 10,000"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"episodes": True}, "--episodes must be an integer"),
    ],
)
def test_an_evaluations_options_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvalConfig(**settings).sizes(TrainConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 10**6, "episodes": 10**4, "horizon": 10**4}, "time steps of 1000000 tasks"),
        ({"data": "examples", "tasks": 10**6, "examples.shots": 10**6}, "The examples of"),
        ({"policy.hidden": (10**6, 10**6)}, "The network needs at least"),
    ],
)
def test_what_no_memory_holds_is_refused_with_its_size(options, message):
    with pytest.raises(ConfigError, match=rf"{message}.* [\d,]+ GiB, and this machine has"):
        check_memory(TrainConfig().changed(options))
    check_memory(TrainConfig())


def test_inner_settings_alone():
    with pytest.raises(ConfigError, match="must be finite"):
        InnerConfig(step_size=INF)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--inner.step-size", "inf"], "inner.step_size must be finite"),
        (["--validation-tasks", "1000000000"], "validation_tasks must be at most"),
        (
            ["--policy.hidden", "1000000", "1000000", "--processes", "1"],
            "The network needs at least",
        ),
        (["--env.kwargs", "[" * 5000], "--env.kwargs"),
        (["--optimizer.kwargs", json.dumps({"differentiable": True})], "in-place"),
    ],
)
def test_a_command_says_it_in_a_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "train", "navigation", "--outer", "optimizer", *words)
    assert not list(tmp_path.iterdir())
