"""Surrogates and outer objectives on the command line."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rlmaml import tree
from runners.config import TrainConfig
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from runners.training import train
from tests.helpers.runs import assert_same_run, learned, run, tiny

PAPER = ("--inner.surrogate", "log-likelihood")
E_MAML = ("--algorithm", "e-maml")
PROMP = ("--algorithm", "promp")


@pytest.mark.parametrize(
    "options",
    [
        PAPER,
        ("--inner.surrogate", "dice", "--inner-advantages.baseline", "none"),
        ("--inner.hessian", "separate", "--inner.steps", "2"),
        E_MAML,
        (*E_MAML, "--algorithm-settings.task-copies", "2"),
        (*PROMP, "--optimizer.clip-norm", "1", "--algorithm-settings.kl-coefficient", "1"),
    ],
    ids=["log-likelihood", "dice", "hessian", "e-maml", "copies", "promp"],
)
def test_resuming_equals_never_having_stopped(tmp_path, options):
    whole = tiny(tmp_path / "whole", *options, preset="navigation")
    tiny(tmp_path / "parts", *options, "--iterations", 2, preset="navigation")
    run("train", "--resume", tmp_path / "parts", "--iterations", 4)
    assert_same_run(whole, RunDir(tmp_path / "parts"))
    plain = tiny(tmp_path / "plain", preset="navigation")
    assert not torch.equal(*(tree.ravel(learned(folder).meta)[0] for folder in (whole, plain)))
    run("evaluate", whole.path, "--tasks", 3, "--episodes", 2, "--steps", 1)


def test_promp_is_logged_and_carries_its_penalty_on(tmp_path):
    more = ("--inner.steps", "2", "--algorithm-settings.epochs", "3")
    folder = tiny(tmp_path / "run", *PROMP, *more, preset="navigation")
    lines = folder.read_metrics()
    assert all(line["epochs"] == 3 for line in lines)
    assert all(len(line["kl/inner"]) == len(line["kl_coefficients"]) == 2 for line in lines)
    for line, following in pairwise(lines):
        for kl, before, after in zip(
            line["kl/inner"], line["kl_coefficients"], following["kl_coefficients"], strict=True
        ):
            assert after == before * (2 if kl > 0.015 else 0.5 if kl < 0.01 / 1.5 else 1)
    assert len(learned(folder).state["outer"]["kl_coefficients"]) == 2


def test_hessian_data_are_counted(tmp_path):
    apart = ("--inner.hessian", "separate")
    folder = tiny(tmp_path / "run", *apart, "--inner.steps", "2", preset="half-cheetah-vel")
    assert folder.read_metrics()[-1]["env_steps"] == 4 * 2 * (5 * 3 * 6)
    few_shot = ("--examples.shots", "3", "--examples.queries", "4")
    small = ("--iterations", "2", "--tasks", "5", "--log-every", "1")
    for name, options, count in (("with", apart, 10), ("without", (), 7)):
        out = tmp_path / name
        run("train", "sinusoid", "--out", out, *few_shot, *small, *options)
        assert RunDir(out).read_metrics()[-1]["env_steps"] == 2 * 5 * count


def test_each_task_is_drawn_as_often_as_asked(tmp_path, monkeypatch):
    seen = []
    real = train.collect

    def collect(sampler, inner, meta, tasks, **how):
        seen.append(tasks)
        return real(sampler, inner, meta, tasks, **how)

    monkeypatch.setattr(train, "collect", collect)
    copies = ("--algorithm-settings.task-copies", "3", "--tasks", "6", "--iterations", "1")
    tiny(tmp_path / "run", *E_MAML, *copies, preset="navigation")
    (tasks,) = seen
    assert len(tasks) == 6
    assert len(np.unique(tasks, axis=0)) == 2
    np.testing.assert_array_equal(tasks[:3], tasks[[0, 0, 0]])


def test_a_run_from_before_these_settings_goes_on(tmp_path):
    folder = tiny(tmp_path / "run", *PAPER, "--iterations", "2", preset="navigation")
    path = folder.path / "config.json"
    stored = json.loads(path.read_text())
    for name in ("algorithm", "algorithm_settings", "outer_reduction"):
        del stored["config"][name]
    stored["config"]["inner"]["adjoint"] = "unrolled"
    for name in ("surrogate", "reduction", "hessian"):
        del stored["config"]["inner"][name]
    for group in ("inner_advantages", "outer_advantages"):
        del stored["config"][group]["baseline"]
    path.write_text(json.dumps(stored))
    run("train", "--resume", folder.path, "--iterations", "4")
    assert folder.read_config().inner.surrogate == "log-likelihood"
    assert_same_run(tiny(tmp_path / "whole", *PAPER, preset="navigation"), folder)


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        (
            "navigation",
            f"{' '.join(E_MAML)} --outer-advantages.normalize True",
            "take outer_advantages.normalize False",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --inner.surrogate dice",
            "count that a second time. Take inner.surrogate log-likelihood",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --tasks 1",
            "least 2 and a multiple of algorithm_settings.task_copies, got 1",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --algorithm-settings.task-copies 3",
            "multiple of algorithm_settings.task_copies, got 20 and",
        ),
        ("navigation", "--algorithm-settings.task-copies 2", "algorithm-settings.task-copies"),
        ("navigation", "--algorithm promp --outer trust-region", "Take outer optimizer"),
        (
            "navigation",
            f"--algorithm promp {' '.join(PAPER)}",
            "Take inner.surrogate lvc",
        ),
        ("navigation", "--algorithm fo-maml --inner.hessian separate", "leaves out"),
        ("sinusoid", "--inner.surrogate dice", "for data episodes"),
        ("sinusoid", "--inner.reduction episodes", "for data episodes"),
        ("sinusoid", "--algorithm e-maml", "for episodes"),
        ("sinusoid", "--algorithm pytest:raises", "is no algorithm"),
        ("sinusoid", "--algorithm nothing", "Unknown algorithm 'nothing'"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_code_2(
    tmp_path, capsys, preset, options, message
):
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        run("train", preset, "--out", out, *options.split())
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


def test_settings_survive_json():
    config = with_algorithm(PRESETS["navigation"][1], "promp")
    config = replace(config, algorithm_settings=replace(config.algorithm_settings, clip=0.2))
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.outer == "optimizer"
    with pytest.raises(ValueError, match="settings of another method"):
        replace(config, algorithm="maml")
