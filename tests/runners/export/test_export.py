"""Adapted policies in stable-baselines3 and in plain torch: the same actions, and learning on."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import rlmaml
from rlmaml import models
from rlmaml.adapted import AdaptedPolicy
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners import cli
from runners.environments import make_single, task_points
from runners.export.export import export_sb3, export_torch, statistics
from runners.export.ppo import ppo_settings, to_sb3
from runners.export.sb3 import BatchedVecEnv
from tests.helpers.runs import TINY, run, tiny
from tests.helpers.vector_envs import batched

FAMILIES = {
    "half-cheetah-vel": ("HalfCheetahVel-v0", {"frame_skip": 1}),
    "navigation": ("Navigation2D-v0", {}),
    "tabular": ("TabularMDP-v0", {"num_states": 3, "num_actions": 2}),
}


def trained(folder, preset, *more):
    words = ["--env.kwargs", json.dumps(FAMILIES[preset][1]), *more]
    return tiny(folder / preset, *words, "--iterations", "1", preset=preset)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {preset: trained(folder, preset) for preset in FAMILIES}


@pytest.fixture(scope="module")
def standardized(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standardized")
    words = ("--normalize-observations", "True")
    return {name: trained(folder, name, *words) for name in ("half-cheetah-vel", "tabular")}


def adapted(folder, steps=1):
    env = make_single(folder.read_config())
    env.reset(seed=0)
    return rlmaml.load(folder.path).adapt(env, steps=steps), env


def observations_of(space, count):
    """As the environment gives them, and wide, so that actions leave the box and statistics clip"""
    rng = np.random.default_rng(0)
    if isinstance(space, gymnasium.spaces.Discrete):
        return space.start + rng.integers(space.n, size=count)
    return 5 * rng.standard_normal((count, *space.shape))


@pytest.mark.parametrize("preset", FAMILIES)
def test_ppo_predicts_the_same_to_the_bit(runs, preset, tmp_path):
    policy, env = adapted(runs[preset])
    export_sb3(policy, env, tmp_path / "policy.zip")
    model = PPO.load(tmp_path / "policy.zip", device="cpu")
    for count in (1, 2, 7):
        given = observations_of(policy.observation_space, count)
        (one, _), (other, _) = (each.predict(given, deterministic=True) for each in (model, policy))
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    (one, _), (other, _) = (each.predict(given[0], deterministic=True) for each in (model, policy))
    np.testing.assert_array_equal(one, other)
    assert np.shape(one) == np.shape(other)
    tensor, _ = model.policy.obs_to_tensor(given)
    theirs, ours = model.policy.get_distribution(tensor).distribution, policy.distribution(given)
    if preset == "tabular":
        torch.testing.assert_close(theirs.logits, ours.logits.log_softmax(-1))
    else:
        assert torch.equal(theirs.stddev, ours.log_std.exp())


@pytest.mark.parametrize("preset", ["half-cheetah-vel", "tabular"])
def test_observation_statistics_come_along(standardized, preset, tmp_path):
    policy, env = adapted(standardized[preset])
    exported = export_sb3(policy, env, tmp_path / "policy.zip")
    given = observations_of(policy.observation_space, 7)
    expected, _ = policy.predict(given, deterministic=True)
    model = PPO.load(tmp_path / "policy.zip", device="cpu")
    if preset == "tabular":  # they are in the first layer
        assert not statistics(tmp_path / "policy.zip").exists()
        logits = model.policy.get_distribution(torch.as_tensor(given)).distribution.logits
        ours = policy.distribution(given).logits.log_softmax(-1)
        torch.testing.assert_close(logits, ours, rtol=1e-5, atol=1e-6)
        return
    venv = VecNormalize.load(str(tmp_path / "policy-vecnormalize.pkl"), DummyVecEnv([lambda: env]))
    assert (venv.training, venv.norm_reward) == (False, False)
    actions, _ = model.predict(venv.normalize_obs(given), deterministic=True)
    np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(venv.normalize_obs(given)).max() == 10
    before = venv.obs_rms.mean.copy()
    assert exported.get_vec_normalize_env() is not None
    PPO.load(tmp_path / "policy.zip", venv, n_steps=12, batch_size=6).learn(12)
    np.testing.assert_array_equal(venv.obs_rms.mean, before)


def test_learning_goes_on(runs, tmp_path):
    policy, env = adapted(runs["half-cheetah-vel"])
    model = export_sb3(policy, env, tmp_path / "policy", n_steps=12, batch_size=6)
    assert (tmp_path / "policy.zip").exists()
    model.learn(12)
    assert not torch.equal(model.policy.action_net.bias, policy.module.mean[-1].bias)
    alone = gymnasium.make(
        "envs:rlmaml/HalfCheetahVel-v0", max_episode_steps=6, disable_env_checker=True, frame_skip=1
    )
    batch = batched("HalfCheetahVel-v0", 3, 6)
    for other in (alone, BatchedVecEnv(batch, [1.5])):
        model = PPO.load(tmp_path / "policy.zip", env=other, batch_size=6)
        assert model.learn(20).num_timesteps == 12 * model.n_envs * (1 + (other is alone))
    assert to_sb3(policy, batch, n_steps=6, batch_size=6).learn(18).num_timesteps == 18


def test_settings_are_those_of_the_run():
    config = TrainConfig(horizon=200)
    expected = {"gamma": 0.99, "gae_lambda": 1.0, "n_steps": 2000, "batch_size": 80}
    assert ppo_settings(config) == expected
    assert ppo_settings(config, copies=5)["n_steps"] == 400
    assert ppo_settings(TrainConfig(horizon=1)) == expected | {"n_steps": 2048, "batch_size": 64}
    assert ppo_settings(TrainConfig(horizon=5003)) == expected | {"n_steps": 5003, "batch_size": 64}


BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,))


def gaussian(low=-1.0, config=None):
    action = gymnasium.spaces.Box(low, 1.0, (2,))
    return AdaptedPolicy(models.GaussianMLP(3, 2, config or models.PolicyConfig()), BOX, action)


class Blank(gymnasium.Env):
    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


def test_the_least_standard_deviation_is_kept_and_no_hidden_layer_will_do():
    config = models.PolicyConfig(hidden=(), init_log_std=-7.0, min_log_std=-2.0)
    policy = gaussian(config=config)
    model = to_sb3(policy, Blank(policy.observation_space, policy.action_space))
    assert model.policy.log_std.tolist() == [-2.0, -2.0]
    given = observations_of(policy.observation_space, 7).astype(np.float32)
    one, other = (each.predict(given, deterministic=True)[0] for each in (model, policy))
    np.testing.assert_array_equal(one, other)


def test_spaces_that_stable_baselines3_cannot_have_are_refused():
    policy = gaussian(low=-np.inf)
    with pytest.raises(ConfigError, match="bounded"):
        to_sb3(policy, Blank(policy.observation_space, policy.action_space))
    actions = gymnasium.spaces.Discrete(2, start=1)
    policy = AdaptedPolicy(models.CategoricalMLP(3, 2), BOX, actions)
    with pytest.raises(ConfigError, match="counts from 0"):
        to_sb3(policy, Blank(BOX, actions))
    policy = gaussian()
    with pytest.raises(ConfigError, match=r"action_space is .*the environment's is"):
        to_sb3(policy, Blank(BOX, gymnasium.spaces.Box(-2, 2, (2,))))


READ = """
import json, sys

absent = {"rlmaml", "envs", "runners", "gymnasium", "stable_baselines3"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
import torch

answers = {}
for path, given in json.load(sys.stdin).items():
    module = torch.export.load(path).module()
    answers[path] = [
        {name: x.tolist() for name, x in module(torch.tensor(each)).items()} for each in given
    ]
absent -= {"gymnasium", "stable_baselines3"}
import numpy as np
from stable_baselines3 import PPO

model = PPO.load(sys.argv[1], device="cpu")
with open(sys.argv[2], "rb") as file:
    statistics = __import__("pickle").load(file)
given = np.array(json.loads(sys.argv[3]))
actions = model.predict(statistics.normalize_obs(given), deterministic=True)[0]
print(json.dumps([answers, actions.tolist()]))
"""


def test_what_is_exported_needs_nothing_of_ours(runs, standardized, tmp_path):
    """A program needs torch alone, a PPO model and statistics stable-baselines3."""
    shifted = AdaptedPolicy(
        models.CategoricalMLP(4, 3),
        gymnasium.spaces.Discrete(4, start=2),
        gymnasium.spaces.Discrete(3, start=-1),
    )
    policies = {
        **{name: adapted(folder)[0] for name, folder in runs.items()},
        **{f"{name}-standardized": adapted(f)[0] for name, f in standardized.items()},
        "shifted": shifted,
    }
    given, expected = {}, {}
    for name, policy in policies.items():
        path = str(tmp_path / f"{name}.pt2")
        export_torch(policy, path)
        inputs = [observations_of(policy.observation_space, count) for count in (1, 2, 7)]
        if policy.observation_space.shape:
            inputs = [each.astype(np.float32) for each in inputs]
        given[path] = [each.tolist() for each in inputs]
        expected[path] = [
            {"action": policy.predict(each, deterministic=True)[0]}
            | policy.distribution(each)._asdict()
            for each in inputs
        ]
    policy, env = adapted(standardized["half-cheetah-vel"])
    path = tmp_path / "policy.zip"
    export_sb3(policy, env, path)
    wide = observations_of(policy.observation_space, 7)
    answer = subprocess.run(
        [sys.executable, "-I", "-c", READ, path, statistics(path), json.dumps(wide.tolist())],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    answers, actions = json.loads(answer.stdout)
    ours, _ = policy.predict(wide, deterministic=True)
    np.testing.assert_allclose(actions, ours, rtol=1e-6, atol=1e-6)
    for path, batches in expected.items():
        for ours, theirs in zip(batches, answers[path], strict=True):
            assert set(ours) == set(theirs)
            for key in ours:
                np.testing.assert_allclose(theirs[key], ours[key], rtol=1e-5, atol=1e-6)


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
    with pytest.raises(SystemExit) as stop:
        run("export", runs["half-cheetah-vel"].path, *words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


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
