"""`rlmaml export`: what it writes, and what it refuses."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import rlmaml
from rlmaml.errors import ConfigError
from runners.command_line import cli
from runners.environments import make_single, task_points
from runners.export.export import export_sb3
from tests.helpers.exported import adapted, trained
from tests.helpers.runs import TINY, refused, run

pytestmark = pytest.mark.slow


def test_the_command(runs, standardized, tmp_path, capsys):
    folder = runs["half-cheetah-vel"]
    run("export", folder.path, "--task", 1.5, "--to", "sb3", tmp_path / "policy.zip")
    printed = capsys.readouterr().out
    assert "after 1 step on 3 episodes of task 1.5" in printed
    assert "value network is untrained" in printed
    env = make_single(folder.read_config())
    env.unwrapped.set_task([1.5])
    policy = rlmaml.load(folder.path).adapt(env)
    model = PPO.load(tmp_path / "policy.zip")
    assert torch.equal(model.policy.action_net.weight, policy.module.mean[-1].weight)
    assert (model.gamma, model.n_steps % 6) == (0.99, 0)
    run("export", folder.path)
    meta = rlmaml.load(folder.path).meta["params"]
    model = PPO.load(folder.path / "exports" / "meta.zip")
    assert torch.equal(model.policy.action_net.weight, meta["mean.2.weight"])
    run("export", folder.path, tmp_path / "three", "--to", "torch", "--task", 1, "--steps", 3)
    assert (tmp_path / "three.pt2").exists()
    run("export", standardized["half-cheetah-vel"].path, "--task", "0.5")
    exports = standardized["half-cheetah-vel"].path / "exports"
    names = {"task-0.5-steps-1.zip", "task-0.5-steps-1-vecnormalize.pkl"}
    assert {path.name for path in exports.iterdir()} == names
    assert "VecNormalize.load" in capsys.readouterr().out
    run("export", runs["navigation"].path, "--task", "-0.25", 0.5)
    assert "task -0.25 0.5" in capsys.readouterr().out
    env = make_single(runs["tabular"].read_config())
    run("export", runs["tabular"].path, "--task", *env.unwrapped.task.ravel())
    assert "..." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "1", "2"], "takes one point"),
        (["--task", "nan"], "is no point of the task space Box"),
        (["--task", "99"], "is no point of the task space Box"),
        (["--steps", "2"], "name it by --task"),
        (["--task", "1", "--steps", "-1"], "--steps must be at least 0"),
        (["--checkpoint", "/nonexistent"], "checkpoint"),
        (["out.pkl"], "ends in .zip"),
        (["--to", "onnx"], "onnx"),
    ],
)
def test_refusals(runs, words, message, capsys):
    assert message in refused(capsys, "export", runs["half-cheetah-vel"].path, *words)


def test_nothing_is_overwritten(runs, tmp_path, capsys):
    policy, env = adapted(runs["half-cheetah-vel"])
    for name in ("policy.zip", "policy-vecnormalize.pkl"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ConfigError, match="exists already"):
            export_sb3(policy, env, tmp_path / "policy.zip")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_no_folder_can_be_made_in_a_file(runs, tmp_path):
    policy, env = adapted(runs["half-cheetah-vel"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write"):
        export_sb3(policy, env, tmp_path / "file" / "policy.zip")


@pytest.mark.parametrize("to", ["sb3", "torch"])
def test_several_networks_are_refused_before_anything_is_written(tmp_path, capsys, to):
    words = ("--algorithm-settings.particles", "3", "--trust-region.fisher-fraction", "1")
    folder = trained(tmp_path, "navigation", "--algorithm", "bayesian-maml", *words)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run("export", folder.path, "--to", to, "--task", "0.25", "0.5")
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert "use " in printed.err
    assert "from Python, rlmaml.load(run).adapt(env)" in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not (folder.path / "exports").exists()


def test_runs_on_examples_are_refused(tmp_path, capsys):
    cli.main(["train", "sinusoid", "--out", str(tmp_path), *TINY[:2], "--iterations", "1"])
    with pytest.raises(SystemExit):
        run("export", tmp_path)
    assert "name a run on episodes" in capsys.readouterr().err


def test_points_of_task_spaces():
    box = gymnasium.spaces.Box(0, 1, (2, 2), np.float64)
    np.testing.assert_array_equal(task_points(box, (0, 0.1, 0.2, 1)), [[[0, 0.1], [0.2, 1]]])
    three = gymnasium.spaces.Discrete(3)
    assert task_points(three, (2.0, 0.0)).tolist() == [2, 0]
    with pytest.raises(ConfigError, match="1 integers for each"):
        task_points(three, (1.5,))
    with pytest.raises(ConfigError, match="4 numbers for each"):
        task_points(box, (1,))
    with pytest.raises(ConfigError, match="no point of the task space Discrete"):
        task_points(three, (3,))
