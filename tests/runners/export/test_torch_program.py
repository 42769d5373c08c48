"""What is exported, where nothing of this package is installed."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from rlmaml import models
from rlmaml.learner import AdaptedPolicy
from runners.export.export import export_sb3, export_torch, statistics
from tests.helpers.exported import adapted, observations_of

pytestmark = pytest.mark.slow

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
