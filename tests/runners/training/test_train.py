"""Training: the run folder, stopping and resuming without loss, starting from another run."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import checkpoint, tree
from rlmaml.algorithms.maml import MAML
from rlmaml.sampling.normalizer import Normalizer
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.run_dir import RunDir, repeatable
from runners.training import train, updates
from tests.helpers.runs import TINY, assert_same_run, learned, run, tiny

pytestmark = pytest.mark.slow


@pytest.mark.pictures
def test_train_writes_the_run_folder(tmp_path, capsys):
    folder = tiny(tmp_path / "run")
    lines = folder.read_metrics()
    assert [line["iteration"] for line in lines] == [0, 1, 2, 3]
    needed = (
        "env_steps seconds return/pre return/post kl kl/per_task surrogate entropy outcome "
        "line_search_steps time/sampling time/update attempt diverged"
    )
    assert set(needed.split()) <= set(lines[0])
    assert lines[-1]["env_steps"] == 4 * 2 * (2 * 3 * 6)
    assert folder.read_config().tasks == 2
    assert (folder.plots / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert "million env steps" in capsys.readouterr().out
    run("evaluate", folder.path, "--tasks", 3, "--episodes", 2, "--steps", 2)
    result = json.loads(folder.evaluation.read_text())
    assert result["steps"] == [0, 1, 2]
    assert len(result["per_task"]) == 3
    returns = np.array([task["return"] for task in result["per_task"]])
    np.testing.assert_allclose(result["mean"], np.float32(returns).mean(0))
    np.testing.assert_allclose(result["ci95"], 1.96 * returns.std(0, ddof=1) / np.sqrt(3))
    assert result["versions"]["mujoco"] != "not installed"
    assert {"adaptation.png", "tasks.png"} <= set(os.listdir(folder.plots))
    assert "held-out" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more", [(), ("--normalize-observations", "True", "--inner.steps", "2")], ids=["plain", "stats"]
)
def test_resuming_equals_never_having_stopped(tmp_path, more):
    whole = tiny(tmp_path / "whole", *more)
    again = tiny(tmp_path / "again", *more)
    assert_same_run(whole, again)
    tiny(tmp_path / "parts", *more, "--iterations", 2)
    run("train", "--resume", tmp_path / "parts", "--iterations", 4)
    assert_same_run(whole, RunDir(tmp_path / "parts"))


def test_batches_counted_in_time_steps_are_resumed_to_the_bit(tmp_path):
    """Ants that fall, or jump too high: more of them are sampled, and as many again."""
    more = ("--horizon", "120", "--iterations", "2", "--checkpoint-every", "1")
    whole = tiny(tmp_path / "whole", *more, preset="paper-ant-vel")
    lines = whole.read_metrics()
    assert lines[0]["length/pre"] < 120
    assert lines[0]["env_steps"] >= 2 * 2 * 3 * 120
    tiny(tmp_path / "parts", *more, "--iterations", 1, preset="paper-ant-vel")
    run("train", "--resume", tmp_path / "parts", "--iterations", 2)
    assert_same_run(whole, RunDir(tmp_path / "parts"))


def test_iterations_after_the_last_checkpoint_are_done_again(tmp_path):
    whole = tiny(tmp_path / "whole")
    broken = tiny(tmp_path / "broken", "--iterations", 2)
    line = broken.read_metrics()[-1] | {"iteration": 2, "return/post": 1e9}
    broken.append_metrics(line)  # as though killed after iteration 2, before its checkpoint
    with open(broken.path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 3, "ret')  # and in the middle of a line
    run("train", "--resume", broken.path, "--iterations", 4)
    assert_same_run(whole, broken)
    assert [line["attempt"] for line in broken.read_metrics()] == [1, 1, 2, 2]
    assert "1000000000.0" in (broken.path / "metrics.jsonl").read_text()  # nothing is rewritten


def start(out, *more):
    command = [sys.executable, "-m", "runners", "train", "half-cheetah-vel", "--out", str(out)]
    return subprocess.Popen(
        [*command, *TINY, *map(str, more)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(folder, count):
    deadline = time.monotonic() + 90
    while len(folder.read_metrics()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_ends_the_run_after_saving(tmp_path, capsys, monkeypatch):
    real = train.meta_batch

    def sampled(experiment, config, meta, iteration):
        if iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(experiment, config, meta, iteration)

    monkeypatch.setattr(train, "meta_batch", sampled)
    with pytest.raises(SystemExit) as stop:
        tiny(tmp_path / "run", "--checkpoint-every", 100)
    assert stop.value.code == 143
    assert "--resume" in capsys.readouterr().err
    folder = RunDir(tmp_path / "run")
    assert learned(folder).iteration == len(folder.read_metrics()) == 3


def test_kill_9_loses_at_most_one_interval(tmp_path):
    folder = RunDir(tmp_path / "run")
    process = start(folder.path, "--iterations", 100_000)
    wait_for_lines(folder, 5)
    process.kill()
    process.communicate(timeout=60)
    done = learned(folder).iteration
    assert done >= len(folder.read_metrics()) - 2
    run("train", "--resume", folder.path, "--iterations", done + 2)
    whole = tiny(tmp_path / "whole", "--iterations", done + 2)
    assert [repeatable(x) for x in whole.read_metrics()] == [
        repeatable(x) for x in folder.read_metrics()[: done + 2]
    ]


def test_init_starts_from_a_checkpoint(tmp_path):
    first = tiny(tmp_path / "first")
    second = tiny(tmp_path / "second", "--init", first.path, "--iterations", 0)
    assert all(
        map(torch.equal, tree.leaves(learned(first).meta), tree.leaves(learned(second).meta))
    )


def test_what_init_brought_survives_a_kill_before_the_first_checkpoint(tmp_path):
    first = tiny(tmp_path / "first")
    whole = tiny(tmp_path / "whole", "--init", first.path)
    killed = RunDir(tmp_path / "killed")
    process = start(killed.path, "--init", first.path, "--checkpoint-every", 1000)
    wait_for_lines(killed, 1)
    process.kill()
    process.communicate(timeout=60)
    run("train", "--resume", killed.path, "--checkpoint-every", 2)
    assert_same_run(whole, killed)


def test_several_seeds(tmp_path):
    run("train", "navigation", "--out", tmp_path / "runs", *TINY, "--seeds", 3, 5)
    runs = [RunDir(tmp_path / "runs" / f"seed-{seed}") for seed in (3, 5)]
    assert [folder.read_config().seed for folder in runs] == [3, 5]
    assert runs[0].read_metrics()[0]["return/pre"] != runs[1].read_metrics()[0]["return/pre"]


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    folder = tiny(tmp_path / "run")
    before = (folder.path / "metrics.jsonl").read_bytes()
    run("train", "--resume", folder.path)
    assert (folder.path / "metrics.jsonl").read_bytes() == before


QUICK = ("--iterations", "2", "--tasks", "2", "--validation-tasks", "0", "--quiet")


@pytest.mark.parametrize(
    ("preset", "first", "second"),
    [
        ("digits", "maml", "maml++"),
        ("sinusoid", "maml", "bayesian-maml"),
        ("sinusoid", "meta-sgd", "alpha-maml"),
        ("sinusoid", "cavia", "meta-sgd"),
        ("sinusoid", "bayesian-maml", "bayesian-maml"),
    ],
)
def test_a_method_starts_from_anothers_run(tmp_path, preset, first, second):
    run("train", preset, "--algorithm", first, *QUICK, "--out", tmp_path / "a")
    words = ("--algorithm", second, "--init", tmp_path / "a", "--out", tmp_path / "b")
    run("train", preset, *words, *QUICK[2:], "--iterations", "0")
    begun, source = (learned(RunDir(tmp_path / name)).meta for name in "ba")
    for name, value in source["params"].items():
        if first == second or second != "bayesian-maml":
            found = begun["params"].get(name)
            if found is None:  # a scale or shift of every step
                found = begun["norms"][name][-1]
        else:
            found = begun["params"][name][0]
        assert torch.equal(found, value)


def test_other_networks_are_refused_with_both_shapes(tmp_path, capsys):
    run("train", "sinusoid", *QUICK, "--out", tmp_path / "a", "--policy.hidden", "7")
    with pytest.raises(SystemExit):
        run("train", "sinusoid", *QUICK, "--init", tmp_path / "a", "--out", tmp_path / "b")
    said = capsys.readouterr().err
    assert "(7, 1)" in said
    assert "(40, 1)" in said


def test_a_run_killed_before_its_first_checkpoint_begins_where_it_was_to(tmp_path):
    run("train", "sinusoid", *QUICK, "--out", tmp_path / "a")
    for name in "bc":
        run("train", "sinusoid", *QUICK, "--init", tmp_path / "a", "--out", tmp_path / name)
    shutil.rmtree(tmp_path / "c" / "checkpoints")
    run("train", "--resume", tmp_path / "c", "--quiet")
    b, c = (tree.ravel(learned(RunDir(tmp_path / name)).meta)[0] for name in "bc")
    assert torch.equal(b, c)


def test_groups_without_tensors_survive_a_checkpoint(tmp_path):
    """A bag of embeddings has no biases in its trunk, so that there is nothing to shift."""
    small = ("--examples.shots", "1", "--examples.queries", "1", *QUICK)
    run("train", "docstrings", "--algorithm", "pretraining", *small, "--out", tmp_path / "a")
    words = ("--algorithm", "meta-transfer", "--init", tmp_path / "a", "--out", tmp_path / "b")
    run("train", "docstrings", *words, *small)
    learner = rlmaml.load(tmp_path / "b")
    size = learner.meta["params"]["words.weight"].shape[1]
    assert learner.meta["scale"]["words.weight"].shape == (size,)  # of every feature of a word
    predictor = learner.adapt(torch.zeros(5, 32, dtype=torch.int64), torch.arange(5))
    assert predictor(torch.zeros(2, 32, dtype=torch.int64)).shape == (2,)


PAPER = ("--inner.surrogate", "log-likelihood")


E_MAML = ("--algorithm", "e-maml")


PROMP = ("--algorithm", "promp")


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


@pytest.fixture
def small():
    config = replace(PRESETS["navigation"][1], iterations=2, tasks=2, episodes=3, horizon=5)
    return replace(config, threads=1, normalize_observations=True)


def test_observation_statistics_change_once_an_iteration_and_after_its_update(
    monkeypatch, tmp_path, small
):
    events = []
    update, commit = MAML.update, Normalizer.commit

    def updated(self, state, batch):
        events.append("update")
        return update(self, state, batch)

    def committed(self):
        events.append("commit")
        commit(self)

    monkeypatch.setattr(MAML, "update", updated)
    monkeypatch.setattr(Normalizer, "commit", committed)
    folder = train.train(small, tmp_path / "run", quiet=True)
    assert events == ["commit", *["update", "commit"] * 2]
    state = checkpoint.load(checkpoint.locate(folder.path)).state
    sets = 1 + 2 * (small.inner.steps + 1)  # the first look, and two iterations
    assert state["normalizer"]["count"] == sets * 2 * 3 * 5  # tasks, B, T
    assert state["normalizer"]["count"] == state["totals"]["env_steps"]
    assert not torch.equal(state["normalizer"]["variance"], torch.ones(2, dtype=torch.float64))


def test_only_a_run_that_learns_from_scratch_looks_before_its_first_iteration(tmp_path, small):
    def count(folder):
        return checkpoint.load(checkpoint.latest(folder.checkpoints)).state["normalizer"]["count"]

    look = 2 * 3 * 5
    iterations = 2 * (small.inner.steps + 1) * look
    folder = train.train(small, tmp_path / "run", quiet=True)
    assert count(folder) == look + iterations
    assert folder.read_metrics()[0]["env_steps"] == look + iterations / 2
    again = train.train(small, tmp_path / "again", init=folder.path, quiet=True)
    assert count(again) == count(folder) + iterations
    none = train.train(replace(small, iterations=0), tmp_path / "none", quiet=True)
    assert count(none) == 0


def test_how_far_new_statistics_move_the_policy(small):
    with contextlib.closing(build_experiment(small)) as experiment:
        normalizer = experiment.normalizer
        meta = experiment.algorithm.init_meta(experiment.params)
        train.first_look(experiment, small, meta)
        normalizer.commit()
        batch = train.meta_batch(experiment, small, meta, 0)
        before = Normalizer((2,))
        before.load_state_dict(normalizer.state_dict())
        moved = updates.commit_statistics(experiment, meta, batch)
        standardized, mask = batch.query.inputs[:, 0], batch.query.mask[:, 0]
        raw = standardized.double() * (before.variance + 1e-8).sqrt() + before.mean
        old, new = (
            experiment.algorithm.policy(meta["params"], statistics(raw))
            for statistics in (before, normalizer)
        )
        divergence = torch.distributions.kl_divergence(
            *(torch.distributions.Normal(each.mean, each.log_std.exp()) for each in (old, new))
        )
        expected = (divergence.sum(-1) * mask).sum() / mask.sum()
    assert moved == pytest.approx(expected.item(), rel=1e-3)
    assert moved > 1e-6
