"""The command line, the run folder, and stopping and resuming without loss."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from rlmaml import checkpoint, tree
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from runners import cli, presets
from runners.build import build
from runners.config import EnvConfig, TrainConfig, changes
from runners.evaluation import evaluate
from runners.run_dir import RunDir
from runners.training import train
from tests.helpers.runs import TINY, assert_same_run, comparable, learned, run, tiny


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
    np.testing.assert_allclose(result["mean"], returns.mean(0))
    np.testing.assert_allclose(result["ci95"], 1.96 * returns.std(0, ddof=1) / np.sqrt(3))
    assert result["versions"]["mujoco"] != "not installed"
    assert {"adaptation.png", "tasks.png"} <= set(os.listdir(folder.plots))
    assert "held-out" in capsys.readouterr().out


def test_kinds_of_task_have_names(tmp_path, capsys):
    folder = tiny(tmp_path / "run", preset="half-cheetah-dir")
    run("evaluate", folder.path, "--tasks", 4, "--episodes", 2, "--steps", 1)
    result = json.loads(folder.evaluation.read_text())
    returns = {task["task"]: [] for task in result["per_task"]}
    for task in result["per_task"]:
        returns[task["task"]].append(task["return"])
    for number, name in enumerate(("goal: forward", "goal: backward")):
        group = result["groups"][name]
        assert group["tasks"] == 2
        np.testing.assert_allclose(group["mean"], np.mean(returns[number], 0), rtol=1e-5)
    assert "\ngoal: backward" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["bandit", "tabular"])
def test_tasks_of_many_numbers_are_evaluated_and_drawn(tmp_path, capsys, preset):
    out = tmp_path / preset
    kwargs = {"num_states": 3, "num_actions": 2} if preset == "tabular" else {"num_arms": 3}
    tiny(out, "--env.kwargs", json.dumps(kwargs), preset=preset)
    run("evaluate", out, "--tasks", 4, "--episodes", 2, "--steps", 1)
    result = json.loads((out / "evaluation.json").read_text())
    assert np.shape(result["per_task"][0]["task"]) == ((3, 2, 4) if preset == "tabular" else (3,))
    assert "regret" in result["others"]
    assert {"adaptation.png", "tasks.png"} <= set(os.listdir(out / "plots"))
    assert f"{result['mean'][1]:.3f} ±" in capsys.readouterr().out  # small returns need digits


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


def start(out, *more, session=False):
    command = [sys.executable, "-m", "runners", "train", "half-cheetah-vel", "--out", str(out)]
    return subprocess.Popen(
        [*command, *TINY, *map(str, more)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=session,
    )


def wait_for_lines(folder, count):
    deadline = time.monotonic() + 90
    while len(folder.read_metrics()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_saving(tmp_path, number, code):
    folder = RunDir(tmp_path / "run")
    process = start(folder.path, "--iterations", 100_000, "--checkpoint-every", 1000)
    wait_for_lines(folder, 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert learned(folder).iteration == len(folder.read_metrics())


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
    assert [comparable(x) for x in whole.read_metrics()] == [
        comparable(x) for x in folder.read_metrics()[: done + 2]
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


def test_the_best_checkpoint_is_kept_and_is_the_one_that_was_measured(tmp_path, capsys):
    folder = tiny(tmp_path / "run", "--iterations", 12, "--checkpoint-every", 2)
    measured = {x["iteration"]: x["return/post"] for x in folder.read_metrics()}
    best = max(range(2, 12, 2), key=measured.__getitem__)
    assert learned(folder).state["totals"]["best_iteration"] == best
    assert best in checkpoint.available(folder.checkpoints)
    assert f"{best:06d}" in capsys.readouterr().out
    place = folder.checkpoints / f"{best:06d}"
    evaluate.evaluate(folder, tasks=2, episodes=2, steps=0, checkpoint=place)


def test_evaluation_draws_from_the_test_split_and_counts_divergences(tmp_path):
    ranges = '{"goal_range": [0, 1], "test_goal_range": [2, 3]}'
    folder = tiny(tmp_path / "run", "--env.kwargs", ranges, "--iterations", 1)
    result = evaluate.evaluate(folder, tasks=5, episodes=2, steps=1)
    assert all(2 <= task["task"][0] <= 3 for task in result["per_task"])
    assert all(task["diverged"] == [0, 0] for task in result["per_task"])


def test_ctrl_c_saves_a_run_with_worker_processes(tmp_path):
    """A terminal sends SIGINT to the workers as well."""
    folder = RunDir(tmp_path / "run")
    process = start(
        folder.path,
        *("--iterations", 100_000, "--env.vectorization", "async"),
        session=True,
    )
    wait_for_lines(folder, 2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert learned(folder).iteration == len(folder.read_metrics())


def test_several_seeds(tmp_path):
    run("train", "navigation", "--out", tmp_path / "runs", *TINY, "--seeds", 3, 5)
    runs = [RunDir(tmp_path / "runs" / f"seed-{seed}") for seed in (3, 5)]
    assert [folder.read_config().seed for folder in runs] == [3, 5]
    assert runs[0].read_metrics()[0]["return/pre"] != runs[1].read_metrics()[0]["return/pre"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    folder = tiny(tmp_path / "run", "--tensorboard", "True", "--iterations", 1)
    assert list(folder.tensorboard.iterdir())


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


BAYESIAN = ("--algorithm", "bayesian-maml")
CROSS_FITTED = ("--inner-advantages.baseline", "cross-fitted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "Unknown command"),
        (["train", "no-such-preset"], "Unknown preset"),
        (["train", "navigation", "--tasks", "0"], "at least 1"),
        (["train", "navigation", "--inner.step-size", "-1"], "positive"),
        (["train", "navigation", "--env.kwargs", '{"wings": 2}'], "wings"),
        (["train", "navigation", "--env.id", "NoSuch-v0"], "NoSuch"),
        (["train", "navigation", "--device", "toaster"], "toaster"),
        (["train", "navigation", "--resume", "/nonexistent"], "not a run folder"),
        (["train"], "preset"),
        (["evaluate", "/nonexistent"], "not a run folder"),
        (["evaluate", "/etc/hosts"], "not a run folder"),
        (["train", "navigation", "--wings", "2"], "Unrecognized"),
        (["train", "navigation", "--tasks", "many"], "many"),
        (["train", "navigation", "--seeds", "0", "-1"], "zero or more"),
        (["train", "navigation", "--out", "/etc/hosts/run"], "Cannot make"),
        (["train", "navigation", "--device", "cuda:99"], "No such CUDA device"),
        (["list", "please"], "no arguments"),
        (["reproduce"], "Name a row"),
        (["reproduce", "half-cheetah-dir"], "no row of the paper"),
        (["reproduce", "paper-point", "--seeds", "0"], "--seeds must be at least 1"),
        (["train", "sinusoid", "--batch-by", "steps"], "for data episodes"),
        (["train", "navigation", "--batch-by", "steps", *BAYESIAN], "Take batch_by episodes"),
        (["train", "navigation", "--episodes", "1", *CROSS_FITTED], "other episodes"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    if words == ["train"]:
        words = ["train", "--iterations", "3"]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_bad_run_folders_are_one_line_and_code_2(tmp_path, capsys):
    folder = tiny(tmp_path / "run")

    def refused(*words, message):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(*words)
        assert stop.value.code == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.strip().splitlines()) == 1

    refused("train", "half-cheetah-vel", "--out", folder.path, message="exists already")
    refused("train", "--resume", folder.path, "--tasks", 3, message="tasks: 2 -> 3")
    refused("train", "ant-vel", "--resume", folder.path, message="half-cheetah-vel")
    refused("train", "--resume", folder.path, "--iterations", 1, message="throw some away")
    refused("train", "--resume", folder.path, "--out", tmp_path / "x", message="leave out --out")
    refused("evaluate", folder.path, "--tasks", 0, message="at least 1")
    refused(
        *("train", "navigation", "--out", tmp_path / "other", *TINY, "--init", folder.path),
        message="same network settings",
    )
    place = checkpoint.latest(folder.checkpoints)
    flip(place / checkpoint.META)
    refused("evaluate", folder.path, message="checksum")
    refused("train", "--resume", folder.path, message="checksum")
    cut(place / checkpoint.MANIFEST)
    refused("evaluate", folder.path, message="not a complete checkpoint")
    (folder.path / "config.json").write_text("{")
    refused("evaluate", folder.path, message="cannot be read")


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    folder = tiny(tmp_path / "run")
    before = (folder.path / "metrics.jsonl").read_bytes()
    run("train", "--resume", folder.path)
    assert (folder.path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_built_and_survives_json(name, image_folder, text_table):
    _, config = presets.PRESETS[name]
    assert config.preset == name
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    if root := {"images": image_folder, "text": text_table}.get(name):
        env = EnvConfig(config.env.id, {"root": str(root)})
        config = dataclasses.replace(config, env=env)
    experiment = build(dataclasses.replace(config, episodes=2), tasks=2)
    tasks = experiment.sample_tasks(2, generator(0))
    stacked = tree.repeat(experiment.params, 2)
    data = experiment.sampler(stacked, tasks, (0, 0, 0))
    assert all(len(leaf) == 2 for leaf in tree.leaves(data))
    experiment.close()


def test_list_and_help(capsys):
    run("list")
    printed = capsys.readouterr().out
    assert all(name in printed for name in presets.PRESETS)
    run("--help")
    assert "rlmaml evaluate DIR" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run("train", "navigation", "--help")
    assert stop.value.code == 0
    assert "--trust-region.max-kl" in capsys.readouterr().out


def test_a_config_of_another_version_is_refused():
    with pytest.raises(ConfigError, match="wings"):
        TrainConfig.from_dict({"wings": 2})
    assert changes(TrainConfig(), TrainConfig(iterations=7)) == []
    assert changes(TrainConfig(), TrainConfig(seed=7)) == ["seed: 0 -> 7"]


def test_a_users_environment_by_its_id(tmp_path):
    """Gymnasium's module:id imports the module that registers it."""
    for mode in ("sync", "async"):
        run(
            *("train", "navigation", "--out", tmp_path / mode, *TINY),
            *("--env.id", "tests.helpers.pendulum:GoalPendulum-v0", "--env.vectorization", mode),
        )
    assert_same_run(RunDir(tmp_path / "sync"), RunDir(tmp_path / "async"))
    result = evaluate.evaluate(RunDir(tmp_path / "sync"), tasks=2, episodes=2, steps=1)
    assert len(result["per_task"]) == 2


def test_foreign_envs_are_named(monkeypatch, tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "envs")
    with pytest.raises(ConfigError, match=str(tmp_path / "envs")):
        build(presets.PRESETS["navigation"][1], tasks=1)


def test_stop_restores_the_handlers():
    before = signal.getsignal(signal.SIGTERM)
    with train.Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
